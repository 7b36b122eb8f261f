"""Averages the adapters of several seeds into one: python -m tune.average NAME --out FOLDER

It adds to each weight the mean of what the n adapters add, (1/n) sum of s B A. That is exact (the
mean of the B times the mean of the A would not be), and its rank is the sum of their ranks. With
--rank it is the nearest adapter of that rank (truncated singular values).
"""

import argparse
from pathlib import Path

from trainable.command.flags import add_names
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.trial import ConfigError


def build_parser() -> Parser:
    parser = Parser("tune.average", __doc__)
    add_names(
        parser, help="a sweep (the seeds of its best point), or the folders of two or more adapters"
    )
    parser.add_argument(
        "--trial", metavar="ID", help="average the seeds of this trial's point, not the best"
    )
    parser.add_argument("--rank", type=int, metavar="R", help="rank of the result (default: exact)")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="write it here")
    return parser


def run(flags: argparse.Namespace) -> Outcome:
    from tune.export.folder import placed
    from tune.export.mean import write_mean

    if flags.rank is not None and flags.rank < 1:
        raise ConfigError(f"--rank must be at least 1, not {flags.rank}")
    folders = list_folders(flags)
    with placed(flags.out) as draft:
        lost = write_mean(folders, flags.rank, draft)
    print(f"the mean of {len(folders)} adapters: {flags.out}")
    if flags.rank is not None:
        print(f"rank {flags.rank} leaves out {lost:.2%} of it (of the changes' norm)")
    print(f"score it: python -m tune.evaluate --adapter {flags.out} --split validation")
    return Outcome(facts={"out": flags.out, "adapters": folders, "lost": lost})


def list_folders(flags: argparse.Namespace) -> list[Path]:
    """The adapters that the flags name. Raises ConfigError."""
    folders = [Path(name).expanduser() for name in flags.names]
    if len(folders) > 1:
        if flags.trial:
            raise ConfigError("--trial is of one sweep: leave it out, or name the sweep alone")
        return folders
    from analysis.records import find_sweep, read_sweep
    from tune.export.choice import choose_seeds

    choices = choose_seeds(read_sweep(find_sweep(flags.names[0], flags.storage)), flags.trial)
    print("seeds of one point: trials " + ", ".join(choice.trial.id for choice in choices))
    return [choice.checkpoint for choice in choices]


main = make_main(build_parser, run)

if __name__ == "__main__":
    start_command(main)
