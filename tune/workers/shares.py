"""What a trial takes of the nodes, so that as many fit as are wanted at a time."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ALIVE = 0  # as Ray's GcsNodeInfo has it


@dataclass(frozen=True, kw_only=True)
class Node:
    cpus: float
    gpus: float = 0
    id: str = ""  # Ray's
    gpu_model: str = ""  # as Ray calls it: H200, A100, ...


def split(nodes: Sequence[Node], room: int) -> dict[str, float]:
    """The most that each of `room` trials may take. No trial spans two nodes.

    >>> split([Node(cpus=4), Node(cpus=2)], 3)
    {'cpu': 2}
    >>> split([Node(cpus=8, gpus=2)], 4)
    {'cpu': 2, 'gpu': 0.5}
    """
    n_gpus = sum(int(node.gpus) for node in nodes)
    gpu = {"gpu": _one_of(math.ceil(room / n_gpus))} if n_gpus else {}
    most = max((int(node.cpus) for node in nodes), default=1)
    shares: Iterable[float] = (*range(most, 0, -1), *(_one_of(n) for n in range(2, room + 1)))
    fitting = ({"cpu": cpus, **gpu} for cpus in shares)
    return next((s for s in fitting if count_room(nodes, s) >= room), {"cpu": 0.01, **gpu})


def count_room(nodes: Iterable[Node], share: Mapping[str, float]) -> int:
    """How many shares the nodes hold; 1 if none does now: a node may come."""
    return max(1, sum(count_on(node, share) for node in nodes))


def count_on(node: Node, share: Mapping[str, float]) -> int:
    by_cpus = math.floor(node.cpus / share["cpu"] + 1e-9)
    if not share.get("gpu"):
        return by_cpus
    per_gpu = math.floor(1 / share["gpu"] + 1e-9)
    return min(by_cpus, int(node.gpus) * per_gpu)


def _one_of(n: int) -> float:
    """1/n, rounded down to what Ray counts in.

    >>> _one_of(7)
    0.1428
    """
    return 1 if n <= 1 else math.floor(10_000 / n) / 10_000


def read_nodes() -> list[Node]:
    """The cluster's, as it is now. `ray.nodes()` aborts this process where the head has been
    started anew; the client below it raises."""
    import ray

    worker: Any = ray._private.worker.global_worker
    found = worker.gcs_client.get_all_node_info(state_filter=ALIVE)
    offers = {node.hex(): info.resources_total for node, info in found.items()}
    return [
        Node(id=n, cpus=o.get("CPU", 0), gpus=o.get("GPU", 0), gpu_model=find_gpu_model(o))
        for n, o in offers.items()
    ]


def find_gpu_model(resources: Iterable[str]) -> str:
    """
    >>> find_gpu_model({"CPU": 8, "accelerator_type:H200": 1}), find_gpu_model({"CPU": 8})
    ('H200', '')
    """
    kinds = (name.partition("accelerator_type:")[2] for name in resources)
    return next(filter(None, kinds), "")


def avoid(nodes: Collection[str]) -> dict[str, dict[str, str]]:
    """The option by which Ray puts a process on any node but these."""
    others = {"ray.io/node-id": f"!in({','.join(sorted(nodes))})"}
    return {"label_selector": others} if nodes else {}
