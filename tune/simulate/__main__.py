"""python -m tune.simulate"""

from trainable.command.outcome import start_command
from tune.simulate.command import main

if __name__ == "__main__":
    start_command(main)
