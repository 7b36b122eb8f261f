"""Has a sweep try a point that you, or a program, propose:
python -m tune.propose NAME --set learning_rate=3e-4 --why TEXT

The point lies in the sweep's space (tune.clone takes any other); searched fields that --set leaves
out are chosen by the sweep's sampler, which learns from the point as from its own. It counts as one
of the sweep's trials. Where the sweep is not running the point waits for the next --resume.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainable.command.flags import add_name, add_set
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from tune.folder.find import open_folder
from tune.plan.flags import parse_settings


def propose(flags: argparse.Namespace) -> Outcome:
    from tune.folder.lock import find_owner
    from tune.folder.requests import await_answer, tell, tell_waiting

    folder = open_folder(flags, "tune.propose")
    request = send_proposal(folder, parse_settings(flags.set), flags.why)
    if find_owner(folder) is None:
        return tell_waiting(folder, "the proposal")
    return tell(await_answer(folder, request))


def send_proposal(folder: Path, point: Mapping[str, Any], why: str) -> Any:
    """The request, for this driver or the next. Raises ConfigError for what it would refuse."""
    from analysis.records import read_sweep
    from tune.folder.lock import check_not_elsewhere
    from tune.folder.requests import send
    from tune.search.proposals import check_point
    from tune.search.rebuild import read_settings

    check_not_elsewhere(folder)
    _, space = read_settings(read_sweep(folder))
    check_point(space, point)
    return send(folder, "propose", {"trial": None, "set": dict(point), "why": why})


def build_parser() -> Parser:
    parser = Parser("tune.propose", __doc__)
    add_name(parser)
    add_set(parser, "a searched field's value")
    parser.add_argument("--why", default="", metavar="TEXT", help="kept beside the trial")
    return parser


main = make_main(build_parser, propose)

if __name__ == "__main__":
    start_command(main)
