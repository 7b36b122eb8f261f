"""The race of points: a point's seeds wait for each other at every rung, which judges the point by
their mean. Pure, and a function of what is heard in its order: no records, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from statistics import fmean
from typing import Any, Literal

from tune.search.proposals import Tried
from tune.search.rungs import Rungs
from tune.search.trials import ENDED, Progress, is_confirmation, view

# why a point goes on from its rung: see Rungs
Call = Literal["earned", "idle", "last"]


@dataclass(eq=False, slots=True)
class Point:
    """One point of the space with its seeds; a clone is a point of its own."""

    name: str  # its first trial's id: what the rungs call it
    size: int  # seeds that it is to have
    seeds: list[Progress] = field(default_factory=list)  # in the order of their numbers
    decisions: dict[int, bool] = field(default_factory=dict)  # milestone -> whether it went on
    stand: tuple[Any, ...] = ()  # how its seeds stood when the sampler saw them last
    seen: Tried | None = None  # and what it saw

    @property
    def has_ended(self) -> bool:
        return len(self.seeds) >= self.size and all(t.state in ENDED for t in self.seeds)

    @property
    def waiting(self) -> list[Progress]:
        return [t for t in self.seeds if t.state == "WAITING"]

    def pick_seed(self, lowest: int) -> int:
        """The first from there on that none of its trials has."""
        known = {trial.config.seed for trial in self.seeds}
        return next(n for n in count(lowest) if n not in known)

    def list_judged(self, milestone: int) -> list[Progress]:
        """The seeds that count there, those that did not fail; none while one that has not ended
        is still to come."""
        missing = [
            t for t in self.seeds if max(t.scores, default=-1) < milestone and t.state not in ENDED
        ]
        if missing or len(self.seeds) < self.size:
            return []
        return [t for t in self.seeds if milestone in t.scores and t.state != "FAIL"]

    def view(self, *, has_earned: bool = False) -> Tried:
        """As the sampler sees it; made anew where a seed has moved, since every proposal asks for
        all of them."""
        stand = tuple(v for t in self.seeds for v in (t.state, t.turns_seen, len(t.scores)))
        if self.seen is None or self.stand != stand:
            self.stand, self.seen = stand, view_point(self.seeds, has_earned=has_earned)
        return self.seen

    def find_due(self) -> int | None:
        """The milestone that its foremost seed under way has reached; None: it has none."""
        reached = [max(t.scores) for t in self.seeds if t.scores and t.state not in ENDED]
        return max(reached, default=None)


@dataclass(frozen=True)
class Judged:
    """What a rung decided of a point, and on what."""

    point: Point
    milestone: int
    trials: tuple[str, ...]  # the seeds that counted
    mean: float  # higher is better
    goes_on: bool


@dataclass
class Race:
    """Which trials are seeds of which point, and how each point stands at the rungs."""

    rungs: Rungs
    seeds: int  # of a point
    trials: int  # proposed ones, all seeds counted
    has_rungs: bool  # False (asha off): nobody waits
    points: dict[str, Point] = field(default_factory=dict)  # trial -> its point
    proposed: list[Point] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)  # what is not recorded yet

    def enter(self, trial: Progress) -> None:
        """To be told of the trials in the order of their numbers."""
        if trial.number < 0 or is_confirmation(trial):
            return
        short = self.find_short(trial.params)
        if trial.origin is not None:
            point = Point(trial.id, 1)
        elif short is not None:
            point = short
        else:
            left = self.trials - self.seeds * len(self.proposed)
            point = Point(trial.id, max(1, min(self.seeds, left)))
            self.proposed.append(point)
        point.seeds.append(trial)
        self.points[trial.id] = point

    def find_short(self, params: Mapping[str, Any] | None = None) -> Point | None:
        """The first point that lacks seeds (the last one; an earlier one where a trial is lost from
        the records): any, or the one with these params."""
        short = (p for p in self.proposed if len(p.seeds) < p.size)
        return next((p for p in short if params is None or p.seeds[0].params == params), None)

    def hear(self, trial: Progress, milestone: int) -> bool:
        """Of a score that the trial has; whether it goes on now."""
        if is_confirmation(trial) or not self.has_rungs:
            return True
        point = self.points[trial.id]
        for lower in [m for m in point.decisions if m < milestone]:
            if not point.decisions[lower]:  # it was promoted from there
                point.decisions[lower] = True
                self.rungs.drop(point.name)
        self.judge(point, milestone)
        return point.decisions.get(milestone, False)

    def judge(self, point: Point, milestone: int) -> bool:
        """Whether the point could be judged there now: once, when all of its seeds have come."""
        seeds = point.list_judged(milestone)
        if milestone in point.decisions or not seeds:
            return False
        mean = fmean(t.scores[milestone] for t in seeds)
        goes_on = point.decisions[milestone] = self.rungs.report(point.name, milestone, mean)
        self.judged.append(Judged(point, milestone, tuple(t.id for t in seeds), mean, goes_on))
        return True

    def leave(self, trial: Progress) -> bool:
        """Of a trial that has ended; whether its point could be judged now, without it."""
        point = self.points.get(trial.id)
        if point is None:
            return False
        if point.has_ended:
            self.rungs.drop(point.name)
        due = point.find_due()
        return due is not None and self.judge(point, due)

    def goes_on(self, trial: Progress) -> bool:
        """Whether the trial has work to do, as it stands at its last score."""
        if is_confirmation(trial) or not self.has_rungs or not trial.scores:
            return True
        return self.points[trial.id].decisions.get(max(trial.scores), False)

    def is_judged(self, trial: Progress) -> bool:
        """Whether its point has been judged where the trial stands."""
        point = self.points.get(trial.id)
        return point is None or max(trial.scores) in point.decisions

    def promote(self, call: Call = "earned") -> Iterable[Progress]:
        """The waiting seeds of a point that has earned to go on, or that goes on because there is
        nothing else to do."""
        if call == "idle":
            name = self.rungs.promote_idle(self.count_entered())
        else:
            name = self.rungs.promote() if call == "earned" else self.rungs.promote_last()
        return [] if name is None else self.points[name].waiting

    def rank_waiting(self) -> list[Progress]:
        """Who waits at a rung that has judged it, the least likely to be promoted first."""
        return [t for name in self.rungs.rank_waiting() for t in self.points[name].waiting]

    def count_entered(self) -> int:
        """Points that have been at a rung, or are on their way to one."""
        points = {*self.points.values()}
        return sum(not p.has_ended or any(t.scores for t in p.seeds) for p in points)


def view_point(seeds: Iterable[Progress], *, has_earned: bool = False) -> Tried:
    """A point as the sampler sees it: one observation, the mean of its seeds, at the milestones
    that all of them reached."""
    seen = [view(trial, has_earned=has_earned) for trial in seeds]
    if len(seen) == 1:
        return seen[0]
    living = [tried for tried in seen if tried.state != "FAIL"] or seen
    states = {tried.state for tried in living}
    state = next(s for s in ("RUNNING", "PRUNED", "COMPLETE", "FAIL") if s in states)
    common = set.intersection(*(set(tried.steps) for tried in living))
    steps: Mapping[int, Any] = {m: fmean(t.steps[m] for t in living) for m in sorted(common)}
    infeasible = state == "FAIL" and any(tried.infeasible for tried in seen)
    return Tried(params=seen[0].params, state=state, steps=steps, infeasible=infeasible)
