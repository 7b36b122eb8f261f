"""One driver a sweep on object storage (s3://...), where a lock of this machine keeps no other out.

The lock is a file beside the sweep's records, which its driver renews every few seconds. Who wants
to drive the sweep waits whether the file changes: the clocks of two machines are not compared. A
driver that finds another's lock in the place of its own ends.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainable.storage.remote import DRIVER_LOCK, Remote, explained, find_remote
from trainable.system.json_object import parse_object
from trainable.trial import ConfigError

RENEW_S = 5.0
# Longer than a driver waits for a storage that does not answer: by then it goes on, or has ended.
PATIENCE_S = float(os.environ.get("QLORA_SEARCH_PULSE_PATIENCE_S", "75"))
WIDTH = 256  # bytes: one that is read while it is written over is still whole


@contextmanager
def hold_remote_lock(folder: Path) -> Iterator[None]:
    """Holds the lock while the block runs, for a sweep on object storage; for one in a folder does
    nothing. Raises ConfigError when somebody else drives the sweep there."""
    remote = find_remote(folder)
    if remote is None:
        yield
        return
    if (who := find_remote_owner(folder, is_told=True)) is not None:
        raise ConfigError(
            f"{folder.name} is running elsewhere ({who}): wait for it to end, or stop it there"
        )
    with explained(remote.uri):
        lock = RemoteLock(remote)
    lock.start()
    try:
        yield
    finally:
        lock.end()


class RemoteLock(threading.Thread):
    """Renews the lock until it is ended, or finds another driver's."""

    def __init__(self, remote: Remote) -> None:
        super().__init__(name="remote lock", daemon=True)
        self.remote, self.since_s = remote, time.time()
        self.id, self.ended = uuid.uuid4().hex, threading.Event()
        self.renew(is_first=True)

    def run(self) -> None:
        while not self.ended.wait(RENEW_S):
            with contextlib.suppress(OSError):  # away for a while: whoever writes records says so
                self.renew()

    def renew(self, *, is_first: bool = False) -> None:
        found = read_lock(self.remote)
        if not is_first and found is not None and found["id"] != self.id:
            print(f"{describe(found)} has taken the sweep over", file=sys.stderr)
            self.ended.set()
            os.kill(os.getpid(), signal.SIGTERM)  # heeded in the background, too, unlike Ctrl-C
            return
        age_s = time.time() - self.since_s
        who = {"id": self.id, "host": os.uname().nodename[:64], "pid": os.getpid(), "age_s": age_s}
        self.remote.write(DRIVER_LOCK, json.dumps(who).encode().ljust(WIDTH))

    def end(self) -> None:
        self.ended.set()
        self.join()
        with contextlib.suppress(OSError):  # one that stands still says the same
            found = read_lock(self.remote)
            if found is not None and found["id"] == self.id:
                self.remote.drop(DRIVER_LOCK)


def find_remote_owner(folder: Path, is_told: bool = False) -> str | None:
    """Who drives the sweep on its object storage, in words; None: nobody, or it lies in a folder.
    Waits for `PATIENCE_S` where a dead driver has left its lock behind. Raises ConfigError."""
    remote = find_remote(folder)
    if remote is None:
        return None
    with explained(remote.uri):
        first = now = read_lock(remote)
        deadline_s = time.monotonic() + PATIENCE_S
        if now is not None and is_told:
            waits = f"waiting {PATIENCE_S:g} s for it to renew its lock"
            text = f"{describe(now)} drove {folder.name}: {waits}"
            print(text, file=sys.stderr)
        while now is not None and time.monotonic() < deadline_s:
            if now != first:
                return describe(now)
            time.sleep(RENEW_S / 10)
            now = read_lock(remote)
    return None


def read_lock(remote: Remote) -> dict[str, Any] | None:
    content = remote.read(DRIVER_LOCK)
    if content is None:
        return None
    try:
        return {"id": "", **parse_object(content)}
    except ValueError:  # nobody renews it: given up as any other that stands still
        return {"id": ""}


def describe(lock: dict[str, Any]) -> str:
    """Of what somebody else wrote: a field may be missing."""
    who = f"process {lock.get('pid', '?')} on {lock.get('host', '?')}"
    is_told = isinstance(lock.get("age_s"), int | float)
    return f"{who}, for {lock['age_s']:.0f} s" if is_told else who
