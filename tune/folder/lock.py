"""One driver a sweep folder: a lock that dies with its owner, and says who that is."""

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainable.storage.remote import fetch_sweep
from trainable.system.inside import check_links, stay_inside
from trainable.system.json_object import read_object
from trainable.system.whole import write_json
from trainable.trial import ConfigError
from tune.folder.remote_lock import find_remote_owner, hold_remote_lock

OWNER = "owner.json"  # there while a driver holds the folder, or after one was killed
PATIENCE_S = 1.0  # `find_owner` holds the lock for an instant


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Holds the folder while the block runs, and the records as they are then. Raises ConfigError
    when a live driver has it, or a link leads out of it."""
    folder.mkdir(parents=True, exist_ok=True)
    check_links(folder)
    from filelock import FileLock, Timeout

    owner = folder / OWNER
    lock = FileLock(folder / ".lock", timeout=PATIENCE_S)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(
            f"{folder} is being written by another driver ({_describe(owner)}): wait for it to "
            "end, or stop it"
        ) from None
    try:
        who = {"host": os.uname().nodename, "pid": os.getpid(), "since_s": time.time()}
        try:
            write_json(owner, who)
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be written ({error.strerror}): check its disk, and give the "
                "same command again"
            ) from error
        with hold_remote_lock(folder):
            fetch_sweep(folder)  # the last driver's last words, too
            yield
        with contextlib.suppress(OSError):  # it tells nothing once the lock is free
            owner.unlink(missing_ok=True)
    finally:
        lock.release()


def find_owner(folder: Path) -> str | None:
    """Who drives the sweep now, in words; None: nobody. For any node that sees the folder."""
    place = stay_inside(folder, ".lock")
    if not (folder / OWNER).exists():
        return None
    from filelock import FileLock, Timeout  # of a thirtieth of a second

    lock = FileLock(place, timeout=0)
    try:
        with lock:
            return None
    except Timeout:
        return _describe(folder / OWNER)


def check_not_elsewhere(folder: Path) -> None:
    """Raises ConfigError when the driver is where no request of this machine reaches it."""
    if find_owner(folder) is None and (who := find_remote_owner(folder, is_told=True)) is not None:
        raise ConfigError(f"{folder.name} runs on another machine ({who}): give the command there")


def read_since(folder: Path) -> float | None:
    """Unix time at which the present driver began; None: there is none."""
    try:
        owner = read_object(folder / OWNER)
        return float(owner["since_s"]) if find_owner(folder) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _describe(owner: Path) -> str:
    try:
        who = read_object(owner)
        age_s = time.time() - who["since_s"]
        return f"process {who['pid']} on {who['host']}, for {age_s:.0f} s"
    except (OSError, ValueError, KeyError, TypeError):
        return "its owner is unknown"
