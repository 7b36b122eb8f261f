"""Sends what a worker's process is at, for the sweep's live table: once a second at most; and now
and then how its trials' training goes, step by step.

Only the live table reads it: a heartbeat that is lost, late or wrong changes no trial.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from trainable.system.activity import ALONE, Activity, read_activities
from trainable.system.gpu import measure_gpu
from trainable.system.throttle import Throttle

PERIOD_S = 1.0
CURVES_S = 5.0  # between curves, which take a hundredth of the time at most
UNCHANGED_S = 5.0  # after so long it is sent though nothing has changed: the process is alive


class Heartbeat(threading.Thread):
    """`send` takes a heartbeat's bytes, `send_curves` those of curves that have grown (by trial);
    `gpu` is what nvidia-smi knows the process's GPU by."""

    def __init__(
        self,
        send: Callable[[bytes], object],
        send_curves: Callable[[bytes], object],
        gpu: str | None,
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.send, self.send_curves, self.gpu = send, send_curves, gpu
        self.curves = Throttle(CURVES_S)
        self.sent_steps: dict[str, int] = {}  # trial -> of its curve
        self.trial = ""  # the one that has this process to itself

    def run(self) -> None:
        last: dict[str, Any] = {}
        use, sent_s = None, -UNCHANGED_S
        while True:
            is_due = time.monotonic() - sent_s >= UNCHANGED_S
            if is_due:
                use, sent_s = measure_gpu(self.gpu), time.monotonic()
            trials = {name: [a.what, a.done, a.total] for name, a in name_trials(self.trial)}
            now = {"trials": trials, "node": os.uname().nodename, "gpu": use}
            if is_due or now != last:
                self.send(json.dumps({**now, "time_s": time.time()}).encode())
                last = now
            if self.curves.is_due():
                with self.curves:
                    self.send_grown()
            time.sleep(PERIOD_S)

    def send_grown(self) -> None:
        """The curves that have grown since they were sent last."""
        grown = {}
        for trial, activity in name_trials(self.trial):
            curve = activity.curve and activity.curve.copy()
            if curve and curve.points and curve.points[-1].steps != self.sent_steps.get(trial):
                grown[trial] = curve.to_dict()
                self.sent_steps[trial] = curve.points[-1].steps
        if grown:
            self.send_curves(json.dumps(grown).encode())


def name_trials(alone: str) -> Iterator[tuple[str, Activity]]:
    """The trials that this process is at; `alone`: the one that may have it to itself. A slot's key
    is its trial's name and a number."""
    for key, activity in read_activities().items():
        if name := alone if key == ALONE else key.rpartition(".")[0]:
            yield name, activity
