"""python -m tune.simulate"""

import sys

from trainable.system.environment import speak_utf8
from tune.simulate.command import main

if __name__ == "__main__":
    speak_utf8()
    sys.exit(main())
