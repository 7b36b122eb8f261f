"""What a sweep's processes are doing, from their heartbeats, for its live table alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainable.system.activity import Activity


@dataclass(frozen=True)
class GpuUse:
    """As nvidia-smi has it, whoever uses it."""

    node: str
    id: str
    percent: float  # of the time in which it computed
    used_gib: float
    total_gib: float


@dataclass(frozen=True)
class Heartbeats:
    activities: Mapping[str, Activity] = field(default_factory=dict)  # by trial
    gpus: tuple[GpuUse, ...] = ()


def merge(heartbeats: list[bytes]) -> Heartbeats:
    """
    >>> merged = merge([b'{"trials": {"0001": ["training", 5, 10]}, "node": "a", "gpu": null}'])
    >>> merged.activities["0001"].total, merged.gpus
    (10, ())
    """
    activities: dict[str, Activity] = {}
    gpus: dict[tuple[str, str], GpuUse] = {}
    for heartbeat in heartbeats:
        said: dict[str, Any] = json.loads(heartbeat)
        activities |= {trial: Activity(*values) for trial, values in said["trials"].items()}
        if said["gpu"] is not None:
            use = GpuUse(node=said["node"], **said["gpu"])
            gpus[use.node, use.id] = use
    return Heartbeats(activities=activities, gpus=tuple(gpus[place] for place in sorted(gpus)))
