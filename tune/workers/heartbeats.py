"""What a sweep's processes say they are at, read from Ray for the live table."""

from __future__ import annotations

import contextlib
import time

import ray
from ray.experimental import internal_kv

from trainable.worker.signs import SIGNS_NAMESPACE
from tune.terminal.signs import Signs, merge

STALE_S = 20.0  # without a new sign a process is taken for dead


class HeartbeatReader:
    """Reads the signs of this Ray job's processes."""

    def __init__(self) -> None:
        self.heard: dict[bytes, tuple[bytes, float]] = {}  # process -> last sign, when it was new

    def look(self) -> Signs:
        """No sign where Ray does not answer: others notice what that means."""
        with contextlib.suppress(ray.exceptions.RayError):
            self._listen()
        now_s = time.monotonic()
        return merge([sign for sign, new_s in self.heard.values() if now_s - new_s < STALE_S])

    def _listen(self) -> None:
        prefix = f"{ray.get_runtime_context().get_job_id()}:"
        for key in internal_kv._internal_kv_list(prefix, namespace=SIGNS_NAMESPACE):
            sign = internal_kv._internal_kv_get(key, namespace=SIGNS_NAMESPACE)
            if sign is not None and sign != self.heard.get(key, (b"", 0.0))[0]:
                self.heard[key] = (sign, time.monotonic())
