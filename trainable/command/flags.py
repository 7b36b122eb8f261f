"""Arguments that several commands take."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainable.storage.remote import is_remote, locate
from trainable.trial import FIELDS, ConfigError

STORAGE = "runs"


def add_name(
    parser: argparse.ArgumentParser, *, help: str = "the sweep's name, or its folder"
) -> None:
    """NAME of a sweep, and --storage."""
    completing(parser.add_argument("name", metavar="NAME", help=help), complete_names)
    add_storage(parser)


def add_names(parser: argparse.ArgumentParser, *, help: str) -> None:
    """One NAME or more, and --storage."""
    names = parser.add_argument("names", metavar="NAME", nargs="+", help=help)
    completing(names, complete_names)
    add_storage(parser)


def add_storage(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--storage",
        type=parse_storage,
        default=STORAGE,
        metavar="FOLDER",
        help="the folder that holds the sweeps, or s3://BUCKET/PREFIX",
    )


def parse_storage(text: str) -> str:
    try:
        return locate(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_set(
    parser: argparse._ActionsContainer,
    help: str = "set a field of the trial (qlora-search fields lists them)",
) -> None:
    """Adds --set, which may be given several times; `FIELD=VALUE` is read where it is used."""
    action = parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help=help
    )
    completing(action, complete_fields)


def add_trust(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="run the code that a base model's files bring along (for this command only)",
    )


def completing(action: argparse.Action, complete: Any) -> argparse.Action:
    """With what argcomplete asks for the words that may stand there."""
    action.completer = complete  # type: ignore[attr-defined]
    return action


def complete_names(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> Sequence[str]:
    """The sweeps of the storage that was given before."""
    storage = getattr(parsed_args, "storage", None) or STORAGE
    if is_remote(storage):
        return ()
    return sorted(p.parent.name for p in Path(storage).glob("*/sweep.json"))


def complete_fields(prefix: str, **_: Any) -> Sequence[str]:
    return [f"{name}=" for name in FIELDS]
