"""What a sweep's processes say they are at, gathered for its live table. Nothing rests on it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainable.system.activity import Activity

STALE_S = 20.0  # without a new sign a process is taken for dead


@dataclass(frozen=True)
class GpuUse:
    """As nvidia-smi has it, whoever uses it."""

    node: str
    id: str
    percent: float  # of the time in which it computed
    used_gib: float
    total_gib: float


@dataclass(frozen=True)
class Signs:
    activities: Mapping[str, Activity] = field(default_factory=dict)  # by trial
    gpus: tuple[GpuUse, ...] = ()


class Lookout:
    """Reads the signs of this Ray job's processes."""

    def __init__(self) -> None:
        self.heard: dict[bytes, tuple[bytes, float]] = {}  # process -> last sign, when it was new

    def look(self) -> Signs:
        """No sign where Ray does not answer: others notice what that means."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):
            self._listen()
        now_s = time.monotonic()
        return merge([sign for sign, new_s in self.heard.values() if now_s - new_s < STALE_S])

    def _listen(self) -> None:
        import ray
        from ray.experimental import internal_kv

        from trainable.worker.entry import SIGNS_NAMESPACE

        prefix = f"{ray.get_runtime_context().get_job_id()}:"
        for key in internal_kv._internal_kv_list(prefix, namespace=SIGNS_NAMESPACE):
            sign = internal_kv._internal_kv_get(key, namespace=SIGNS_NAMESPACE)
            if sign is not None and sign != self.heard.get(key, (b"", 0.0))[0]:
                self.heard[key] = (sign, time.monotonic())


def merge(signs: list[bytes]) -> Signs:
    """
    >>> signs = merge([b'{"trials": {"0001": ["training", 5, 10]}, "node": "a", "gpu": null}'])
    >>> signs.activities["0001"].total, signs.gpus
    (10, ())
    """
    activities: dict[str, Activity] = {}
    gpus: dict[tuple[str, str], GpuUse] = {}
    for sign in signs:
        said: dict[str, Any] = json.loads(sign)
        activities |= {trial: Activity(*values) for trial, values in said["trials"].items()}
        if said["gpu"] is not None:
            use = GpuUse(node=said["node"], **said["gpu"])
            gpus[use.node, use.id] = use
    return Signs(activities=activities, gpus=tuple(gpus[place] for place in sorted(gpus)))
