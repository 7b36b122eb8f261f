"""python -m tune.simulate"""

import sys

from tune.simulate.command import main

if __name__ == "__main__":
    sys.exit(main())
