"""Engines on the cluster's GPUs: started where there is room, shared by trials, healed.

The pool is one light actor. A trial's worker asks it for a slot, and then speaks to the engine
itself. An engine holds one frozen base model; a sweep over several base models or quantisations
runs one engine of each on a GPU, side by side.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar, cast

import ray

from trainable.finetuner import BestSlots
from trainable.trial import BASE_FIELDS, CannotPack, ConfigError, TrialConfig, TrialFailed
from trainable.worker.engine_actor import EngineActor
from trainable.worker.lease import NodeFault
from trainable.worker.node import Unfit
from trainable.worker.remote import unwrap
from trainable.worker.wire import EnginePlace, LeasedSlot
from tune.workers.shares import read_nodes

PING_S = 5.0
START_S = 600.0  # to load a base model; an engine that takes longer has no GPU
Base = tuple[Any, ...]
Nodes = Collection[str]  # by Ray's ids
T = TypeVar("T")


def base_of(config: TrialConfig) -> Base:
    """What decides which engine can hold the trial."""
    return tuple(getattr(config, name) for name in BASE_FIELDS)


@dataclass
class EngineHandle:
    """An engine as the pool knows it."""

    actor: type[EngineActor]
    base: Base
    place: EnginePlace | None = None  # None: it is still starting
    slots: dict[str, int] = field(default_factory=dict)  # lease's key -> slot

    def is_on(self, nodes: Nodes) -> bool:
        return self.place is not None and self.place.node_id in nodes

    def has_room(self, slots: int) -> bool:
        """One that has measured itself may hold fewer than the pool's number."""
        own = self.place.measured if self.place is not None else None
        return len(self.slots) < (slots if own is None else min(slots, own.slots))


class Pool:
    """An asynchronous actor: its methods interleave at every await, and nowhere else."""

    def __init__(
        self,
        start: Callable[[TrialConfig, Nodes, int | None], Any],
        *,
        slots: int | None,
        capacity: Callable[[Nodes], int],
    ) -> None:
        self.start = start  # starts an engine's actor with so many slots, on none of those nodes
        self.slots = slots  # of an engine; None: as many as the first finds best
        self.capacity = capacity  # engines at a time without those nodes, as the cluster is now
        self.handles: list[EngineHandle] = []
        self.changed = asyncio.Condition()
        self.n_leases = 0

    async def open(self, configs: Sequence[TrialConfig], engines: int) -> None:
        """Starts so many engines, where there is room, for these bases in turn: before anyone asks,
        they load while the first workers start."""
        async with self.changed:
            for number in range(len(self.handles), min(engines, self.capacity(()))):
                self._start_engine(configs[number % len(configs)], ())

    async def measure(self, config: TrialConfig) -> BestSlots:
        """How many trials like this one an engine holds best: what the first has found, and every
        later one is started with. Raises TrialFailed, CannotPack, ConfigError."""
        faults: dict[str, NodeFault] = {}
        while True:
            if faults and not any(n.gpus and n.id not in faults for n in read_nodes()):
                why = "; ".join(f"{fault.name}: {fault.reason}" for fault in faults.values())
                raise ConfigError(f"no node is left: {why}")
            async with self.changed:
                same = (h for h in self.handles if h.base == base_of(config))
                handle = next(same, None) or self._start_engine(config, [*faults])
            assert handle is not None, "nobody holds a slot yet"
            try:
                handle.place = await self._find_place(handle, [*faults])
            except TimeoutError:
                self._drop(handle)
                continue
            except (Unfit, TrialFailed, CannotPack) as error:
                self._drop(handle)
                cause = unwrap(error)
                if not isinstance(cause, Unfit):
                    raise cause from None
                faults[cause.fault.node] = cause.fault
                continue
            assert handle.place.measured is not None
            self.slots = handle.place.measured.slots
            return handle.place.measured

    async def lease(self, trial: str, config: TrialConfig, avoided: Nodes = ()) -> LeasedSlot:
        """Waits until an engine has room, on none of the avoided nodes. What
        a dead worker of the same trial still held is freed. Raises TrialFailed, Unfit."""
        await self.release(trial)
        while True:
            await self._drop_all_dead()
            key, handle = await self._take_slot(trial, config, avoided)
            if handle is None:
                continue
            try:
                handle.place = handle.place or await self._find_place(handle, avoided)
            except TimeoutError:
                self._drop(handle)
                continue
            except (TrialFailed, Unfit) as error:
                self._drop(handle)
                raise unwrap(error) from None
            except Exception:
                if handle in self.handles:
                    raise
                continue  # another trial that waited for it gave it up
            if handle.is_on(avoided):  # it was still starting
                handle.slots.pop(key, None)
                continue
            number = handle.slots[key]
            return LeasedSlot(key=key, number=number, actor=handle.actor, place=handle.place)

    async def _find_place(self, handle: EngineHandle, avoided: Nodes) -> EnginePlace:
        """Where the engine runs, once it does. Raises TimeoutError where it never will: its GPU
        was lost with a node, or the model is not loaded in time."""
        where = _as_future(handle.actor.find_place.remote())
        deadline_s = time.monotonic() + START_S
        while not where.done():
            if self._count(avoided) > self.capacity(avoided) or time.monotonic() > deadline_s:
                raise TimeoutError
            await asyncio.wait({where}, timeout=PING_S)
        return where.result()

    async def _take_slot(
        self, trial: str, config: TrialConfig, avoided: Nodes
    ) -> tuple[str, EngineHandle | None]:
        async with self.changed:
            room = self._find_room(base_of(config), avoided)
            handle = room or self._start_engine(config, avoided)
            if handle is None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), PING_S)
                return "", None
            self.n_leases += 1
            key = f"{trial}.{self.n_leases}"
            handle.slots[key] = next(n for n in count() if n not in handle.slots.values())
            return key, handle

    async def release(self, trial: str) -> None:
        """Frees whatever the trial holds."""
        held = [k for handle in self.handles for k in handle.slots if k.rpartition(".")[0] == trial]
        for key in held:
            await self.release_key(key)

    async def release_key(self, key: str) -> None:
        for handle in self.handles:
            if key in handle.slots:
                with contextlib.suppress(Exception):  # a dead engine holds nothing
                    await asyncio.wait_for(_as_future(handle.actor.leave.remote(key)), 60)
                handle.slots.pop(key, None)
        await self._tell()

    async def drop_dead(self, key: str) -> None:
        """The engine that held this lease is dead."""
        self.handles = [handle for handle in self.handles if key not in handle.slots]
        await self._tell()

    async def close(self) -> None:
        for handle in list(self.handles):
            self._drop(handle)

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def _drop_all_dead(self) -> None:
        """Drops engines that are known to be dead; one that is still loading counts as alive."""
        await asyncio.gather(*(self._drop_if_dead(handle) for handle in self.handles))

    async def _drop_if_dead(self, handle: EngineHandle) -> None:
        try:
            ready = cast(Any, handle.actor).__ray_ready__.remote()
            await asyncio.wait_for(_as_future(ready), PING_S)
        except TimeoutError:
            return
        except Exception:
            self._drop(handle)

    def _drop(self, handle: EngineHandle) -> None:
        if handle in self.handles:
            self.handles.remove(handle)
            ray.kill(cast(Any, handle.actor))

    def _count(self, avoided: Nodes) -> int:
        """Engines on other nodes than these."""
        return sum(not handle.is_on(avoided) for handle in self.handles)

    def _find_room(self, base: Base, avoided: Nodes) -> EngineHandle | None:
        """The least filled engine with that base."""
        there = [handle for handle in self.handles if not handle.is_on(avoided)]
        same_base = [handle for handle in there if handle.base == base]
        assert self.slots is not None, "the first engine is measured before any trial leases"
        fitting = [handle for handle in same_base if handle.has_room(self.slots)]
        if len(there) < self.capacity(avoided) and all(handle.slots for handle in fitting):
            return None  # another engine is worth more than a slot beside other trials
        return min(fitting, key=lambda handle: len(handle.slots), default=None)

    def _start_engine(self, config: TrialConfig, avoided: Nodes) -> EngineHandle | None:
        """A new engine, in place of an idle one with another base if need be."""
        if self._count(avoided) >= self.capacity(avoided):
            idle = next((handle for handle in self.handles if not handle.slots), None)
            if idle is None:
                return None
            self._drop(idle)
        handle = EngineHandle(self.start(config, avoided, self.slots), base_of(config))
        self.handles.append(handle)
        return handle


def _as_future(reference: ray.ObjectRef[T]) -> asyncio.Future[T]:
    return asyncio.wrap_future(reference.future())
