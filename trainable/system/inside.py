"""Names and paths that somebody else wrote: none leads out of the folder that it is said to be in.

Standard library only. What is checked where: docs/trust.md.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from trainable.trial import ConfigError

TRIAL_ID = re.compile(r"base|[0-9]{1,9}", re.ASCII)
FOREIGN_LINKS = "wandb"  # keeps links to its own logs there; nothing of ours goes through them


def is_trial_id(text: object) -> bool:
    """`base`, or digits: what a trial's folders are called.

    >>> [is_trial_id(text) for text in ("base", "0042", "../0042", "-1", "", 42)]
    [True, True, False, False, False, False]
    """
    return isinstance(text, str) and TRIAL_ID.fullmatch(text) is not None


def is_below(name: str) -> bool:
    """Whether a relative name, with / between its parts, stays below where it starts. Says nothing
    of links.

    >>> [is_below(name) for name in ("a/b", "..", "a/../../b", "/a", "", "a/./b", "a\\\\b")]
    [True, False, False, False, False, False, False]
    """
    parts = name.split("/")
    return not any(p in ("", ".", "..") or "\\" in p or not p.isprintable() for p in parts)


def stay_inside(folder: Path, name: str) -> Path:
    """`folder / name`, links followed to see where it lies. Raises ConfigError unless that is
    below the folder."""
    place = folder / name
    if is_below(name) and place.resolve().is_relative_to(folder.resolve() / ""):
        return place
    raise ConfigError(
        f"{name!r} leads out of {folder}: nothing is read, written or removed there; take it out "
        "of what names it"
    )


def check_links(folder: Path) -> None:
    """Raises ConfigError where a link below the folder leads out of it: what is written to or
    removed from a sweep must be the sweep's own."""
    for path in _find_links(folder, is_top=True):
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(
                f"{path} is a link out of the sweep's folder (to {os.readlink(path)}): put what it "
                "points to in its place; only the folder of all sweeps (--storage) may be a link"
            )


def _find_links(folder: Path, is_top: bool = False) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield Path(entry.path)
            elif entry.is_dir() and not (is_top and entry.name == FOREIGN_LINKS):
                yield from _find_links(Path(entry.path))
