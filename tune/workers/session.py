"""The folder of a Ray of our own: nobody else reads it, and nothing of it stays."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from trainable.trial import ConfigError

LONGEST_FOLDER = 43  # bytes: a socket's path has 107, and /session_.../sockets/plasma_store 64
SHORT_FOLDERS = ("/tmp", "/dev/shm", "/var/tmp")
PREFIX = "ray-"
RAY_FOLDER = "r"  # Ray's own folder in it, to which Ray lets everybody in
LONGEST_PLACE = LONGEST_FOLDER - len("/ray-12345678/r")
LOCK = "driver.lock"  # held by the driver whose folder it is, so that others know it is alive


@contextlib.contextmanager
def open_session() -> Iterator[Path]:
    """A new folder of mode 700, with one for Ray in it whose path is short enough: where Ray itself
    would put its sessions, or elsewhere if that is too long for a socket or cannot be written. What
    dead drivers left there is removed; this one, by the watchdog. Raises ConfigError."""
    folder = _make_folder()
    draft = folder / f"{LOCK}.new"
    with draft.open("x") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.rename(folder / LOCK)  # it is never seen unlocked
        (folder / RAY_FOLDER).mkdir()
        yield folder


def _make_folder() -> Path:
    usual = [os.environ.get("RAY_TMPDIR"), os.environ.get("TMPDIR"), tempfile.gettempdir()]
    places = dict.fromkeys((next(filter(None, usual)), *SHORT_FOLDERS))
    for place in map(Path, places):
        if len(os.fsencode(place)) > LONGEST_PLACE:
            continue
        remove_dead(place)
        with contextlib.suppress(OSError):
            return Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    raise ConfigError(
        f"Ray needs a folder of at most {LONGEST_PLACE} bytes that it can write to, and none of "
        f"{', '.join(places)} is one: give one in RAY_TMPDIR"
    )


def remove_dead(place: Path) -> None:
    """This user's session folders whose driver is dead."""
    for lock in place.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError), lock.open() as file:  # another's, or gone
            if os.fstat(file.fileno()).st_uid == os.getuid():
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
