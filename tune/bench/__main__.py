"""python -m tune.bench"""

import sys

from tune.bench.command import main

if __name__ == "__main__":
    sys.exit(main())
