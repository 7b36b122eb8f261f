"""A sweep on a virtual clock: the real search, on engines that only pretend to train.

The slots of one engine advance in lockstep, at the mean of their trials' own paces: trials that
join together reach their next milestone together. An engine with one slot is a trial alone.
Packing is free where `fixed_share` is 1: it is the part of a full engine's time for a turn that
does not shrink with the slots in use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Protocol

from trainable.result import Evaluation
from trainable.worker.lease import Lease, Report
from tune.search.trials import Progress
from tune.simulate.curves import Curves, Stretch


class Searching(Protocol):
    """What the clock drives: see tune.search.search.Search."""

    room: int

    def lease(self) -> Lease | None: ...

    def report(self, report: Report) -> bool: ...

    def finish(self) -> None: ...

    @property
    def searched(self) -> list[Progress]: ...


DUE_TURNS = 1e-6  # what is left of a stretch by rounding


@dataclass(eq=False)
class Work:
    """A trial in a slot, on its way to its next milestone."""

    lease: Lease
    seen: int
    stretch: Stretch
    left_turns: float


@dataclass(eq=False)
class Engine:
    slots: int
    fixed_share: float
    works: list[Work] = field(default_factory=list)  # in the order of joining
    at_s: float = 0.0  # up to when `left_turns` is accounted for
    due_s: float = math.inf  # when the next of its trials reaches a milestone

    @property
    def free(self) -> int:
        return self.slots - len(self.works)

    def advance(self, now_s: float) -> None:
        if self.works:
            turns = (now_s - self.at_s) / self._pace_s()
            for work in self.works:
                work.left_turns -= turns
        self.at_s = now_s

    def settle(self) -> None:
        """Finds when it is due, after its trials have changed."""
        self.due_s = math.inf
        if self.works:
            left = max(min(work.left_turns for work in self.works), 0.0)
            self.due_s = self.at_s + left * self._pace_s()

    def _pace_s(self) -> float:
        """Seconds a turn of every trial here."""
        paces = [work.stretch.seconds / work.stretch.turns for work in self.works]
        filled = len(paces) / self.slots
        return sum(paces) / len(paces) * (self.fixed_share + (1 - self.fixed_share) * filled)


class Clock:
    """Runs a search to its end; all times are virtual seconds."""

    def __init__(self, search: Searching, curves: Curves, engines: int, slots: int) -> None:
        self.search, self.curves = search, curves
        self.engines = [Engine(slots, curves.fixed_share) for _ in range(engines)]
        self.now_s = 0.0
        self.gpu_s = 0.0  # engines with work in them, summed
        self.slot_s = 0.0  # slots with work in them, summed
        self.turns = 0  # trained
        search.room = engines * slots

    def run(self) -> None:
        self._fill()
        while (engine := min(self.engines, key=attrgetter("due_s"))).works:
            self._pass_time(engine.due_s)
            engine.advance(self.now_s)
            for work in [w for w in engine.works if w.left_turns <= DUE_TURNS]:
                self._reach(engine, work)
                engine.settle()
                self._fill()
        self.search.finish()

    def _pass_time(self, now_s: float) -> None:
        busy = [len(engine.works) for engine in self.engines if engine.works]
        self.gpu_s += len(busy) * (now_s - self.now_s)
        self.slot_s += sum(busy) * (now_s - self.now_s)
        self.now_s = now_s

    def _reach(self, engine: Engine, work: Work) -> None:
        """The trial reports its milestone, and goes on to the next or leaves its slot."""
        result = work.stretch.result
        self.turns += work.stretch.turns
        evaluation = Evaluation(result=result, dialogues={}, responses={})
        engine.works.remove(work)
        if self.search.report(Report(trial=work.lease.trial, evaluation=evaluation)):
            self._join(engine, work.lease, result.turns_seen)

    def _fill(self) -> None:
        """Gives every free slot a lease, the emptiest engine's first."""
        while (engine := max(self.engines, key=attrgetter("free"))).free:
            lease = self.search.lease()
            if lease is None:
                return
            self._join(engine, lease, lease.reported_turns)

    def _join(self, engine: Engine, lease: Lease, seen: int) -> None:
        engine.advance(self.now_s)
        milestone = next(m for m in lease.milestones if m.turns > seen)
        stretch = self.curves.advance(lease.config, seen, milestone)
        engine.works.append(Work(lease, seen, stretch, stretch.turns))
        engine.settle()
