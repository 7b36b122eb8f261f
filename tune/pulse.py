"""A driver's pulse on a storage that is no folder, where a lock on this machine keeps no other out.

While a sweep is driven, a file beside its records changes every few seconds. Who wants to drive it
watches that first: the clocks of two machines are not compared.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainable.remote import PULSE, Remote, find_remote
from trainable.trial import ConfigError

BEAT_S = 5.0
PATIENCE_S = 3 * BEAT_S


@contextmanager
def keep_pulse(folder: Path) -> Iterator[None]:
    """While the block runs, on a storage that is no folder. Raises ConfigError when somebody else
    drives the sweep there."""
    remote = find_remote(folder)
    if remote is None:
        yield
        return
    if (who := watch(folder)) is not None:
        raise ConfigError(
            f"{folder.name} is being driven elsewhere ({who}): wait for it to end, or stop it there"
        )
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(remote, ended), name="pulse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with contextlib.suppress(OSError):  # one that stands still says the same
            remote.drop(PULSE)


def _beat(remote: Remote, ended: threading.Event) -> None:
    since_s = time.time()
    while True:
        who = {"host": os.uname().nodename, "pid": os.getpid(), "age_s": time.time() - since_s}
        with contextlib.suppress(OSError):  # away for a while: whoever writes records says so
            remote.write(PULSE, json.dumps(who).encode())
        if ended.wait(BEAT_S):
            return


def watch(folder: Path) -> str | None:
    """Who drives the sweep on its remote storage, in words; None: nobody, or the storage is a
    folder. Takes some seconds where a pulse was left behind."""
    remote = find_remote(folder)
    first = remote and remote.read(PULSE)
    if remote is None or first is None:
        return None
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        time.sleep(BEAT_S / 10)
        now = remote.read(PULSE)
        if now is None:
            return None
        if now != first:
            who = json.loads(now)
            return f"process {who['pid']} on {who['host']}, for {who['age_s']:.0f} s"
    return None
