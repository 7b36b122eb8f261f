"""The heartbeat of a worker's process, or an engine's, by way of Ray."""

from __future__ import annotations

import os
from functools import lru_cache, partial

import ray

from trainable.system.heartbeat import Heartbeat

HEARTBEAT_NAMESPACE = "sweep"
CURVES = "curves:"  # before the key of a process's curves


@lru_cache(maxsize=1)
def start_heartbeat() -> Heartbeat:
    """This process's, for all its trials: the driver reads those of its Ray job."""
    from ray.experimental import internal_kv

    job, gpus = ray.get_runtime_context().get_job_id(), ray.get_gpu_ids()
    key = f"{job}:{os.uname().nodename}:{os.getpid()}"

    def put(name: str, content: bytes) -> None:
        if ray.is_initialized():  # else nobody looks any more
            internal_kv._internal_kv_put(name, content, namespace=HEARTBEAT_NAMESPACE)

    heartbeat = Heartbeat(
        partial(put, key), partial(put, f"{CURVES}{key}"), str(gpus[0]) if gpus else None
    )
    heartbeat.start()
    return heartbeat
