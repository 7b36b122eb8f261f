"""Real Ray nodes on this machine, started from a process of their own.

Ray ends a process that has asked a head and hears nothing for a minute, and a cluster that is shut
down takes the key-value store of the process's own Ray along: not those of the tests' process.
"""

from __future__ import annotations

import multiprocessing
import os
import unittest.mock
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import psutil

HEADLESS_S = {"RAY_gcs_rpc_server_reconnect_timeout_s": "300"}


class Nodes:
    """A head that carries `head_cpus` trials, and the nodes that are added: each is known by its
    raylet's process id. `environment` is that of all their processes."""

    def __init__(self, environment: dict[str, str], head_cpus: int) -> None:
        self.process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self.address: str = self._do(_start, {**environment, **HEADLESS_S}, head_cpus)

    def add(self, offer: dict[str, int], environment: dict[str, str] | None = None) -> int:
        return self._do(_add, offer, environment or {})

    def remove(self, raylet: int) -> None:
        """As a machine that is switched off."""
        self._do(_remove, raylet)

    def kill_head(self) -> None:
        self._do(_kill_head)

    def start_head_anew(self) -> None:
        self._do(_start_head)

    def shutdown(self) -> None:
        self._do(_shutdown)
        self.process.shutdown()

    def _do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return self.process.submit(work, *arguments).result(120)


@contextmanager
def open_nodes(environment: dict[str, str], head_cpus: int = 0) -> Iterator[Nodes]:
    nodes = Nodes(environment, head_cpus)
    try:
        yield nodes
    finally:
        nodes.shutdown()


def find_workers(raylet: int, names: tuple[str, ...]) -> list[psutil.Process]:
    """The node's processes with such a name."""
    try:
        processes = psutil.Process(raylet).children(recursive=True)
        return [process for process in processes if process.name().startswith(names)]
    except psutil.NoSuchProcess:
        return []


# What follows runs in the process of its own.
CLUSTER: dict[str, Any] = {}
NODES: dict[int, Any] = {}


def _start(environment: dict[str, str], head_cpus: int) -> str:
    os.environ.update(environment)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": head_cpus})
    CLUSTER["cluster"] = cluster
    return cluster.address


def _add(offer: dict[str, int], environment: dict[str, str]) -> int:
    with unittest.mock.patch.dict(os.environ, environment):
        node = CLUSTER["cluster"].add_node(**offer)
    raylet = node.all_processes["raylet"][0].process.pid
    NODES[raylet] = node
    return raylet


def _remove(raylet: int) -> None:
    CLUSTER["cluster"].remove_node(NODES.pop(raylet), allow_graceful=False)


def _kill_head() -> None:
    CLUSTER["cluster"].head_node.kill_gcs_server(check_alive=False)


def _start_head() -> None:
    CLUSTER["cluster"].head_node.start_gcs_server()


def _shutdown() -> None:
    CLUSTER["cluster"].shutdown()
