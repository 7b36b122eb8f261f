"""Adds a copy of a trial, with some fields changed, to a sweep, from any terminal or node:
python -m tune.clone NAME TRIAL --set lora_rank=32

It starts from scratch, or (--warm) from the original's adapter, converted to another rank. Where
the sweep is not running the clone waits for the next --resume.
"""

import argparse
from pathlib import Path

from trainable.command.flags import add_name, add_set
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.trial import ConfigError
from tune.folder.find import open_folder
from tune.plan.flags import parse_settings

BEST = "best"  # the leaderboard's first, in the place of a trial's name


def clone(flags: argparse.Namespace) -> Outcome:
    from tune.folder.lock import check_not_elsewhere, find_owner
    from tune.folder.requests import await_answer, send, tell, tell_waiting

    folder = open_folder(flags, "tune.clone")
    check_not_elsewhere(folder)
    settings = parse_settings(flags.set)
    trial = find_best(folder) if flags.trial == BEST else flags.trial
    check(folder, trial, settings, flags.warm)
    request = send(folder, "clone", {"trial": trial, "set": settings, "warm": flags.warm})
    if find_owner(folder) is None:
        return tell_waiting(folder, "the clone")
    return tell(await_answer(folder, request))


def find_best(folder: Path) -> str:
    """The leaderboard's first. Raises ConfigError where nothing has been evaluated."""
    from analysis.choice import choose_best
    from analysis.records import read_sweep

    best = choose_best(read_sweep(folder))
    if best is None:
        raise ConfigError(f"{folder.name} has no best trial yet: none has been evaluated")
    return best.trial.id


def check(folder: Path, trial: str, settings: dict[str, object], warm: bool) -> None:
    """Raises ConfigError for what the driver would refuse, as far as the records tell."""
    from analysis.records import read_sweep
    from trainable.trial import TrialConfig
    from tune.plan.checks import check_materials
    from tune.search.clones import locate_adapter, spell_clone
    from tune.search.config import SweepConfig

    records = read_sweep(folder)
    found = next((t for t in records.searched if t.id == trial), None)
    if found is None:
        there = ", ".join(t.id for t in records.searched) or "none yet"
        raise ConfigError(f"{folder.name} has no trial {trial!r} to clone: there are {there}")
    sweep = SweepConfig.from_dict(records.config)
    original = TrialConfig.from_dict(found.config)
    clone = spell_clone(original, settings, warm, sweep)
    check_materials([locate_adapter(clone, folder)])


def build_parser() -> Parser:
    parser = Parser("tune.clone", __doc__)
    add_name(parser)
    parser.add_argument("trial", metavar="TRIAL", help="the one to clone, as 0003, or best")
    add_set(parser, "a field that differs from the original")
    parser.add_argument("--warm", action="store_true", help="start from the original's adapter")
    return parser


main = make_main(build_parser, clone)

if __name__ == "__main__":
    start_command(main)
