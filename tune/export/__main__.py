"""python -m tune.export"""

from trainable.command.outcome import start_command
from tune.export.command import main

if __name__ == "__main__":
    start_command(main)
