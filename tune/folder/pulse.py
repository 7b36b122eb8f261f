"""A driver's pulse on a storage that is no folder, where a lock on this machine keeps no other out.

While a sweep is driven, a file beside its records changes every few seconds. Who wants to drive it
watches that first: the clocks of two machines are not compared. A driver that finds another's pulse
in the place of its own ends.
"""

from __future__ import annotations

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

from trainable.storage.remote import PULSE, Remote, explained, find_remote
from trainable.trial import ConfigError

BEAT_S = 5.0
# Longer than a driver waits for a storage that does not answer: by then it goes on, or has ended.
PATIENCE_S = float(os.environ.get("QLORA_SEARCH_PULSE_PATIENCE_S", "75"))
WIDTH = 256  # bytes: one that is read while it is written over is still whole


@contextmanager
def keep_pulse(folder: Path) -> Iterator[None]:
    """While the block runs, on a storage that is no folder. Raises ConfigError when somebody else
    drives the sweep there."""
    remote = find_remote(folder)
    if remote is None:
        yield
        return
    if (who := watch(folder, is_told=True)) is not None:
        raise ConfigError(
            f"{folder.name} is being driven elsewhere ({who}): wait for it to end, or stop it there"
        )
    with explained(remote.uri):
        pulse = Pulse(remote)
    pulse.start()
    try:
        yield
    finally:
        pulse.end()


class Pulse(threading.Thread):
    """Beats until it is ended, or finds another's."""

    def __init__(self, remote: Remote) -> None:
        super().__init__(name="pulse", daemon=True)
        self.remote, self.since_s = remote, time.time()
        self.id, self.ended = uuid.uuid4().hex, threading.Event()
        self.beat(is_first=True)

    def run(self) -> None:
        while not self.ended.wait(BEAT_S):
            with contextlib.suppress(OSError):  # away for a while: whoever writes records says so
                self.beat()

    def beat(self, *, is_first: bool = False) -> None:
        found = read_pulse(self.remote)
        if not is_first and found is not None and found["id"] != self.id:
            print(f"{describe(found)} has taken the sweep over", file=sys.stderr)
            self.ended.set()
            os.kill(os.getpid(), signal.SIGTERM)  # heeded in the background, too, unlike Ctrl-C
            return
        age_s = time.time() - self.since_s
        who = {"id": self.id, "host": os.uname().nodename[:64], "pid": os.getpid(), "age_s": age_s}
        self.remote.write(PULSE, json.dumps(who).encode().ljust(WIDTH))

    def end(self) -> None:
        self.ended.set()
        self.join()
        with contextlib.suppress(OSError):  # one that stands still says the same
            found = read_pulse(self.remote)
            if found is not None and found["id"] == self.id:
                self.remote.drop(PULSE)


def watch(folder: Path, is_told: bool = False) -> str | None:
    """Who drives the sweep on its remote storage, in words; None: nobody, or the storage is a
    folder. Takes a while where a pulse was left behind. Raises ConfigError."""
    remote = find_remote(folder)
    if remote is None:
        return None
    with explained(remote.uri):
        first = now = read_pulse(remote)
        deadline_s = time.monotonic() + PATIENCE_S
        if now is not None and is_told:
            text = f"{describe(now)} drove {folder.name}: waiting {PATIENCE_S:g} s for a sign of it"
            print(text, file=sys.stderr)
        while now is not None and time.monotonic() < deadline_s:
            if now != first:
                return describe(now)
            time.sleep(BEAT_S / 10)
            now = read_pulse(remote)
    return None


def read_pulse(remote: Remote) -> dict[str, Any] | None:
    content = remote.read(PULSE)
    return None if content is None else json.loads(content)


def describe(pulse: dict[str, Any]) -> str:
    """Of what somebody else wrote: a field may be missing."""
    who = f"process {pulse.get('pid', '?')} on {pulse.get('host', '?')}"
    return f"{who}, for {pulse['age_s']:.0f} s" if "age_s" in pulse else who
