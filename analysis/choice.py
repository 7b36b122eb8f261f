"""The order of a sweep's points, the best first: one for the leaderboard, the report, the live
table, status, export and clones."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import fsum, inf
from typing import Any, Protocol

from analysis.records import RUNNING, EvalRecord, TrialRecord, find_milestone, list_milestones
from trainable.trial import DEFAULTS


class Records(Protocol):
    @property
    def trials(self) -> Iterable[TrialRecord]: ...

    @property
    def config(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class PointResult:
    """One configuration, all of its seeds together."""

    trials: tuple[TrialRecord, ...]  # one a seed; of a confirmed point, the fresh ones
    evals: tuple[EvalRecord, ...]  # one a trial: its last
    milestone_turns: int  # the highest milestone that one of them reached
    is_confirmed: bool = False
    searched: tuple[EvalRecord, ...] = ()  # of a confirmed point: what the search saw of it

    @cached_property
    def trial(self) -> TrialRecord:
        """The best of the seeds that went furthest: what an export or a clone takes."""
        return self.trials[self.list_seeds()[0]]

    def list_seeds(self, metric: str = "value") -> list[int]:
        """Places in `trials`: who trained longest first, then who is best by the metric."""

        def rank(place: int) -> tuple[float, float, int]:
            trial, evaluation = self.trials[place], self.evals[place]
            value, sign = getattr(evaluation, metric), evaluation.sign if metric == "value" else 1
            turns = min(evaluation.turns_seen, self.milestone_turns)  # steps end a little beyond it
            return -turns, inf if value is None else -sign * value, trial.number

        places = range(len(self.trials))
        return sorted(places, key=rank) if len(places) > 1 else [0]

    def mean(self, metric: str) -> float | None:
        """Over the seeds; None where no evaluation has it."""
        values = [v for e in self.evals if (v := getattr(e, metric)) is not None]
        return fsum(values) / len(values) if values else None

    @cached_property
    def value(self) -> float | None:
        """The objective's, as it is shown."""
        return self.mean("value")

    @property
    def score(self) -> float | None:
        """The same with the sign that makes higher better."""
        return None if self.value is None else self.evals[0].sign * self.value

    @property
    def objective(self) -> str:
        """What `value` is a value of."""
        return self.evals[0].name


def choose_best(records: Records) -> PointResult | None:
    """The first in rank that was searched for; None: no such has been evaluated yet. It is among
    the points that trained longest: only they are ranked."""
    searched = [t for t in records.trials if not t.is_base and t.evals and t.state != "FAIL"]
    furthest = find_milestone(
        list_milestones(records.trials, records.config),
        max((t.evals[-1].turns_seen for t in searched), default=0),
    )
    there = {spell_point(t) for t in searched if t.evals[-1].turns_seen >= furthest}
    return next(iter(_rank(records, [t for t in searched if spell_point(t) in there])), None)


def rank_points(records: Records) -> tuple[PointResult, ...]:
    """The points that have been evaluated, those that trained longest first; of each milestone the
    confirmed ones, then the best mean objective, then (where no replies were made) the lowest loss.

    A point counts by all of its seeds: one that was stopped earlier than the others counts with
    what it had, so that losing its worst seeds helps no point. Fresh seeds count once all of them
    have ended, and the race before them, and then in the place of those that the point was chosen
    by."""
    judged = [t for t in records.trials if t.evals and t.state != "FAIL"]
    return _rank(records, judged)


def _rank(records: Records, judged: Iterable[TrialRecord]) -> tuple[PointResult, ...]:
    """The points of those trials."""
    trials = tuple(records.trials)
    levels = list_milestones(trials, records.config)
    last = max((t.number for t in trials if t.is_confirmation), default=-1)
    is_settled = not any(t.state == RUNNING and 0 <= t.number <= last for t in trials)
    points = [_judge(seeds, levels, is_settled) for seeds in group_seeds(judged)]
    return tuple(sorted((p for p in points if p is not None), key=_order))


def group_seeds(trials: Iterable[TrialRecord]) -> list[tuple[TrialRecord, ...]]:
    """Trials that differ in their seed only, together."""
    groups: dict[Any, list[TrialRecord]] = {}
    for trial in trials:
        groups.setdefault(spell_point(trial), []).append(trial)
    return [tuple(group) for group in groups.values()]


def spell_point(trial: TrialRecord) -> Hashable:
    """The same for trials that differ in their seed only."""
    config = {**DEFAULTS, **trial.config}  # a field that is younger than the record
    config.pop("seed", None)
    return trial.is_base, frozenset(config.items())


def _judge(
    seeds: Sequence[TrialRecord], levels: Sequence[int], is_settled: bool
) -> PointResult | None:
    """None where only fresh seeds that do not count yet are there."""
    fresh = tuple(t for t in seeds if t.is_confirmation)
    searched = tuple(t for t in seeds if not t.is_confirmation)
    is_confirmed = is_settled and any(t.state == "COMPLETE" for t in fresh)
    trials = fresh if is_confirmed else searched
    if not trials:
        return None
    return PointResult(
        trials=trials,
        evals=tuple(t.evals[-1] for t in trials),
        milestone_turns=max(find_milestone(levels, t.evals[-1].turns_seen) for t in trials),
        is_confirmed=is_confirmed,
        searched=tuple(t.evals[-1] for t in searched) if is_confirmed else (),
    )


def _order(point: PointResult) -> tuple[float, ...]:
    score, loss = point.score, point.mean("nats_per_word")
    return (
        -point.milestone_turns,
        not point.is_confirmed,
        inf if score is None else -score,
        inf if loss is None else loss,
        point.trial.number,
    )
