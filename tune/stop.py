"""Ends a running sweep, or one trial of it, from another terminal or node: python -m tune.stop NAME

A sweep's trials go on to their next milestone, so that --resume loses nothing of them; --now ends
it at once. A trial is stopped for good: it counts as pruned with the scores that it has.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from trainable.system.environment import speak_utf8
from trainable.trial import ConfigError
from tune.plan.flags import add_storage, open_folder

EXIT_REFUSED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    flags = build_parser().parse_args(arguments)
    try:
        return stop(flags)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def stop(flags: argparse.Namespace) -> int:
    from tune.folder.lock import check_not_elsewhere, find_owner
    from tune.folder.requests import await_answer, send

    if flags.now and flags.trial:
        raise ConfigError("--now ends the whole sweep: leave out the trial, or --now")
    folder = open_folder(flags, "tune.stop")
    check_not_elsewhere(folder)
    if find_owner(folder) is None:
        raise ConfigError(
            f"nobody drives {folder.name}, so there is nothing to stop: tune.status {folder.name} "
            "says how it stands"
        )
    request = send(folder, "stop", {"trial": flags.trial, "now": flags.now})
    answer = await_answer(folder, request)
    print(answer.text, file=sys.stdout if answer.done else sys.stderr)
    return 0 if answer.done else EXIT_REFUSED


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tune.stop", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("name", metavar="NAME", help="the sweep, or its folder")
    parser.add_argument("trial", metavar="TRIAL", nargs="?", help="this one only, as 0003")
    parser.add_argument("--now", action="store_true", help="do not wait for the next milestones")
    add_storage(parser)
    return parser


if __name__ == "__main__":
    speak_utf8()
    sys.exit(main())
