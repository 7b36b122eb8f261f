"""The pool of engines as a Ray actor: started beside the driver, and ended with the sweep."""

from __future__ import annotations

import contextlib
from typing import Any

import ray

from trainable.system.versions import read_versions
from trainable.trial import TrialConfig
from trainable.worker.engine_actor import EngineActor
from trainable.worker.remote import POOL_NAMESPACE
from tune.workers.pool import PING_S, Nodes, Pool
from tune.workers.shares import avoid, read_nodes

MOST_SLOTS = 32  # that an engine may find best


def start_pool(name: str, *, slots: int | None, max_rank: int, on_gpus: bool, bases: int) -> Any:
    """The pool's actor, which starts engines as trials ask for them: `bases` of them on each GPU,
    or on the CPU where there are none. `slots`: see `Pool`."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    engine = ray.remote(EngineActor)
    # no CPU: its trials' workers, which wait for it, may have the node's last one
    offer: dict[str, float] = {"max_concurrency": 2 * (slots or MOST_SLOTS) + 4, "num_cpus": 0}
    offer |= {"num_gpus": 1 / bases} if on_gpus else {}
    versions = read_versions()

    def start(config: TrialConfig, avoided: Nodes, slots: int | None) -> Any:
        asked = (config, slots, max_rank, 1 / bases, versions)
        return engine.options(**offer, **avoid(avoided)).remote(*asked)

    def capacity(avoided: Nodes) -> int:
        return max(sum(int(n.gpus) for n in read_nodes() if n.id not in avoided), 1) * bases

    # Beside the driver: a lost node must not take every other node's engines with it
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    pool = ray.remote(Pool).options(
        name=name,
        namespace=POOL_NAMESPACE,
        num_cpus=0,
        max_concurrency=1000,
        max_restarts=-1,
        scheduling_strategy=here,
    )
    return pool.remote(start, slots=slots, capacity=capacity)


def close_pool(pool: Any) -> None:
    """Ends the engines and the pool, for a cluster that outlives the sweep."""
    with contextlib.suppress(ray.exceptions.RayError):
        ray.get(pool.close.remote(), timeout=PING_S)
        ray.kill(pool)
