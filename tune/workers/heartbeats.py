"""What a sweep's processes say they are at, read from Ray: for the live table, and the curves of
trials that are training."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

import ray
from ray.experimental import internal_kv

from trainable.training_curve import TrainingCurve
from trainable.worker.heartbeat import CURVES, HEARTBEAT_NAMESPACE
from tune.terminal.heartbeats import Heartbeats, merge

STALE_S = 20.0  # without a new heartbeat a process is taken for dead


class HeartbeatReader:
    """Reads the heartbeats of this Ray job's processes."""

    def __init__(self) -> None:
        self.heard: dict[bytes, tuple[bytes, float]] = {}  # process -> its last, when it was new

    def look(self) -> Heartbeats:
        """What the processes are at; nothing where Ray does not answer, which others notice."""
        with contextlib.suppress(ray.exceptions.RayError):
            self._listen()
        now_s = time.monotonic()
        return merge([last for last, new_s in self.heard.values() if now_s - new_s < STALE_S])

    def _listen(self) -> None:
        prefix = f"{ray.get_runtime_context().get_job_id()}:"
        for key in internal_kv._internal_kv_list(prefix, namespace=HEARTBEAT_NAMESPACE):
            last = internal_kv._internal_kv_get(key, namespace=HEARTBEAT_NAMESPACE)
            if last is not None and last != self.heard.get(key, (b"", 0.0))[0]:
                self.heard[key] = (last, time.monotonic())


def take_curves() -> Iterator[tuple[str, TrainingCurve]]:
    """The trials whose curves have grown, each with its curve. What is taken is not there any more,
    so that the curves of processes that are gone are not read again and again."""
    prefix = f"{CURVES}{ray.get_runtime_context().get_job_id()}:"
    with contextlib.suppress(ray.exceptions.RayError):  # as above
        for key in internal_kv._internal_kv_list(prefix, namespace=HEARTBEAT_NAMESPACE):
            content = internal_kv._internal_kv_get(key, namespace=HEARTBEAT_NAMESPACE)
            internal_kv._internal_kv_del(key, namespace=HEARTBEAT_NAMESPACE)
            for trial, values in json.loads(content or b"{}").items():
                yield trial, TrainingCurve.from_dict(values)
