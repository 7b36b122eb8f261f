"""python -m tune.export"""

import sys

from tune.export.command import main

if __name__ == "__main__":
    sys.exit(main())
