"""python -m tune.bench"""

from trainable.command.outcome import start_command
from tune.bench.command import main

if __name__ == "__main__":
    start_command(main)
