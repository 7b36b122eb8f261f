"""Sends what a worker's process is at, for the sweep's live table: once a second at most.

Nothing rests on it: a sign that is lost, late or wrong changes no trial.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from trainable.system.activity import ALONE, read_activities
from trainable.system.gpu import measure_gpu

PERIOD_S = 1.0
UNCHANGED_S = 5.0  # after so long it is sent though nothing has changed: the process is alive


class Heartbeat(threading.Thread):
    """`send` takes a sign's bytes; `gpu` is what nvidia-smi knows the process's GPU by."""

    def __init__(self, send: Callable[[bytes], object], gpu: str | None) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.send, self.gpu = send, gpu
        self.trial = ""  # the one that has this process to itself

    def run(self) -> None:
        last: dict[str, Any] = {}
        use, sent_s = None, -UNCHANGED_S
        while True:
            is_due = time.monotonic() - sent_s >= UNCHANGED_S
            if is_due:
                use, sent_s = measure_gpu(self.gpu), time.monotonic()
            sign = {"trials": self._list_trials(), "node": os.uname().nodename, "gpu": use}
            if is_due or sign != last:
                self.send(json.dumps({**sign, "time_s": time.time()}).encode())
                last = sign
            time.sleep(PERIOD_S)

    def _list_trials(self) -> dict[str, list[Any]]:
        """Trial -> what, done, total. A slot's key is its trial's name and a number."""
        named = {
            self.trial if key == ALONE else key.rpartition(".")[0]: activity
            for key, activity in read_activities().items()
        }
        return {name: [a.what, a.done, a.total] for name, a in named.items() if name}
