"""Ray, started quietly, and what it offers: how many trials at a time, with what each."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.storage.adapter import rank_of
from trainable.trial import TrialConfig
from tune.search.config import SweepConfig
from tune.search.search import Search
from tune.workers.connect import connect
from tune.workers.shares import Node, count_on, count_room, read_nodes, split
from tune.workers.watchdog import RayMonitor, choose_patience, find_endpoints

ONE_CPU = {"cpu": 1}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The machines of a sweep: what they hold, and how the driver hears that Ray is gone."""

    nodes: Sequence[Node]
    check: Callable[[], None] = lambda: None  # ends the driver if Ray is gone
    explain: Callable[[BaseException], None] = lambda error: None  # the same, after an error
    folder: Path | None = None  # of a Ray of our own; removed at its end

    @property
    def has_gpus(self) -> bool:
        return _count_gpus(self.nodes) > 0

    def list_gpu_models(self) -> set[str]:
        return {node.gpu_model for node in self.nodes if node.gpu_model}

    def count_units(self) -> int:
        """What an hour is spent of: GPUs, or machines where there is none."""
        return _count_gpus(self.nodes) or len(self.nodes)


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How trials are carried out."""

    count_on: Callable[[Node], int]  # trials at a time, on that node
    share: Mapping[str, float]  # of the cluster, for one trial's worker
    concurrent: int | None = None  # trials at a time, if somebody asked for so many
    least: int = 1  # where no node has room: one may come
    slots: int  # trials on one engine; 0: each alone in its process
    why: str
    pool: str | None = None  # the pool's name
    release: Callable[[str], None] = lambda trial: None  # frees the trial's slot at once
    close: Callable[[], None] = lambda: None

    def survey(self, search: Search) -> None:
        """Lets the search know how much room the nodes have that there are now."""
        room = {node.id: self.count_on(node) for node in read_nodes()}
        held = {node: n for node, n in room.items() if n}
        search.nodes.present = (held or room).keys()
        useless = search.nodes.list_useless(t.config for t in search.trials.values())
        useful = sum(n for node, n in held.items() if node not in useless)
        search.room = self.concurrent or useful or self.least

    def describe(self, room: int) -> str:
        packing = f"{self.slots} on one base model" if self.slots else "each in its own process"
        most = "one trial" if room == 1 else f"up to {room} trials"
        return f"{most} at a time, {packing} ({self.why})"


def plan_workers(
    cluster: Cluster,
    config: SweepConfig,
    configs: Sequence[TrialConfig],
    say: Callable[[str], None],
) -> Workers:
    """Decides on packing, and starts the pool where there is any."""
    from tune.workers.packing import choose_slots, find_measured, measure
    from tune.workers.pool import base_of
    from tune.workers.pool_actor import close_pool, start_pool

    n_gpus = _count_gpus(cluster.nodes)
    slots, why = choose_slots(config.pack, configs, on_gpus=n_gpus > 0)
    if slots == 0:
        return plan_alone(cluster, config, why)
    one_of_each = list({base_of(c): c for c in configs}.values())
    bases, max_rank = len(one_of_each), max(map(rank_of, configs), default=1)
    name = f"pool-{config.name}-{os.getpid()}"
    pool = start_pool(name, slots=slots, max_rank=max_rank, on_gpus=n_gpus > 0, bases=bases)
    engines = config.concurrent or config.trials
    if slots is None:
        trial = find_measured(configs)
        assert trial is not None
        if bases == 1:  # those on other GPUs load and measure meanwhile
            pool.open.remote([trial], engines)
        slots, why = measure(pool, trial, say)
        if slots == 0:
            close_pool(pool)
            return plan_alone(cluster, config, why)
    pool.open.remote(one_of_each, engines)
    return Workers(
        count_on=lambda node: int(node.gpus) * slots * bases,
        share={"cpu": 0.01},
        concurrent=config.concurrent,
        least=slots * bases,
        slots=slots,
        why=why,
        pool=name,
        release=lambda trial: pool.release.remote(trial),
        close=lambda: close_pool(pool),
    )


def plan_alone(cluster: Cluster, config: SweepConfig, why: str) -> Workers:
    """Each trial in its own process."""
    room = config.concurrent or _count_gpus(cluster.nodes) or count_room(cluster.nodes, ONE_CPU)
    share = split(cluster.nodes, room)
    return Workers(
        count_on=lambda node: count_on(node, share),
        share=share,
        concurrent=config.concurrent,
        slots=0,
        why=why,
    )


def _count_gpus(nodes: Iterable[Node]) -> int:
    return sum(int(node.gpus) for node in nodes)


@contextlib.contextmanager
def start_ray(log: Path, command: str, say: Callable[[str], None]) -> Iterator[Cluster]:
    """A Ray of our own, or the cluster that RAY_ADDRESS names. Whatever it has to say goes to
    `log`, as does all that is printed meanwhile: keep a Console of before for what matters.
    `command` goes on with the sweep where Ray is lost; `say` tells of long waits. Raises
    ConfigError."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        _open_log(log) as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        import ray

        with contextlib.ExitStack() as stack:
            stack.enter_context(_lend_loggers())
            stack.callback(_send_logs, logging.NullHandler())
            _send_logs(logging.StreamHandler(file))  # also what it says where it does not start
            folder = None if ray.is_initialized() else stack.enter_context(connect(say))
            watch = stack.enter_context(RayMonitor(find_endpoints(), choose_patience(), command))
            yield Cluster(
                nodes=read_nodes(), check=watch.check, explain=watch.explain, folder=folder
            )


LOGGERS = ("ray", "ray.tune", "ray.data")


class _Log(io.FileIO):
    """What is said there is worth no error: a full disk takes none of it."""

    def write(self, content: Any) -> int:
        with contextlib.suppress(OSError):
            super().write(content)
        return len(content)


def _open_log(path: Path) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(_Log(path, "a")), "utf-8", line_buffering=True)


@contextlib.contextmanager
def _lend_loggers() -> Iterator[None]:
    """Ray's loggers are given back as they were: the driver may be a part of somebody's program."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger, list(logger.handlers), logger.propagate) for logger in loggers]
    with warnings.catch_warnings():
        yield
    for logger, handlers, propagate in before:
        logger.handlers, logger.propagate = handlers, propagate


def _send_logs(handler: logging.Handler) -> None:
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
    warnings.filterwarnings("ignore", module="ray")
