"""python -m tune.bench"""

import sys

from trainable.system.environment import speak_utf8
from tune.bench.command import main

if __name__ == "__main__":
    speak_utf8()
    sys.exit(main())
