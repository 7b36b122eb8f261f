"""Ends a running sweep, or one trial of it, from another terminal or node: python -m tune.stop NAME

A sweep's trials go on to their next milestone, so that --resume loses nothing of them; --now ends
it at once. A trial is stopped for good: it counts as pruned with the scores that it has.
"""

import argparse

from trainable.command.flags import add_name
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.trial import ConfigError
from tune.folder.find import open_folder


def stop(flags: argparse.Namespace) -> Outcome:
    from tune.folder.lock import check_not_elsewhere, find_owner
    from tune.folder.requests import await_answer, send, tell

    if flags.now and flags.trial:
        raise ConfigError("--now ends the whole sweep: leave out the trial, or --now")
    folder = open_folder(flags, "tune.stop")
    check_not_elsewhere(folder)
    if find_owner(folder) is None:
        raise ConfigError(
            f"{folder.name} is not running, so there is nothing to stop: tune.status {folder.name} "
            "shows its trials"
        )
    request = send(folder, "stop", {"trial": flags.trial, "now": flags.now})
    answer = await_answer(folder, request)
    return tell(answer)


def build_parser() -> Parser:
    parser = Parser("tune.stop", __doc__)
    add_name(parser)
    parser.add_argument(
        "trial", metavar="TRIAL", nargs="?", help="end this trial only, such as 0003"
    )
    parser.add_argument("--now", action="store_true", help="do not wait for the next milestones")
    return parser


main = make_main(build_parser, stop)

if __name__ == "__main__":
    start_command(main)
