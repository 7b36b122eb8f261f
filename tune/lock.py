"""One driver a sweep folder: a lock that dies with its owner, and says who that is."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from trainable.trial import ConfigError
from tune.recorder import write_json


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Holds the folder while the block runs. Raises ConfigError when a live driver has it."""
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder / "owner.json"
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(
            f"{folder} is being written by another driver ({_describe(owner)}): wait for it to "
            "end, or stop it"
        ) from None
    try:
        write_json(owner, {"host": os.uname().nodename, "pid": os.getpid(), "since_s": time.time()})
        yield
        owner.unlink(missing_ok=True)
    finally:
        lock.release()


def _describe(owner: Path) -> str:
    try:
        who = json.loads(owner.read_text(encoding="utf-8"))
        age_s = time.time() - who["since_s"]
        return f"process {who['pid']} on {who['host']}, for {age_s:.0f} s"
    except (OSError, ValueError, KeyError):
        return "its owner is unknown"
