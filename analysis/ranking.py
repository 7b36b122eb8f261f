"""Ranks a sweep's configurations at equal training, seeds together, noise in view."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from analysis.cached import cached
from analysis.choice import PointResult, rank_points
from analysis.claims.quantiles import t_quantile
from analysis.claims.variance import Part, find_half_width
from analysis.curves import are_alike
from analysis.labels import count_digits
from analysis.records import EvalRecord, SweepRecords, TrialRecord
from analysis.standing import Standing, draw_all, find_standing

METRICS = ("bleu", "inform", "success", "combined")
Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry(PointResult):
    """One configuration in its rank, with its noise and its distance from the first."""

    rank: int = 0  # 1: the first of those that went furthest
    combined_interval: Interval | None = None  # 95 %, of the objective's value
    holds: str = ""  # what that interval holds: dialogues, or dialogues and seeds
    behind_first: float | None = None  # its mean score minus the first one's: negative is worse
    behind_interval: Interval | None = None  # 95 %, of both parts; None: seeds do not allow one
    is_behind: bool | None = None  # by more than chance makes; None: not known
    chance: float | None = None  # that it is the best of those that trained as long

    def mean_richness(self, name: str) -> float | None:
        return self.mean_of("richness", name)

    def mean_of(self, group: str, name: str) -> float | None:
        """Of one of an evaluation's groups of figures; None where no seed has it."""
        groups = [getattr(e, group) or {} for e in self.evals]
        values = [figures[name] for figures in groups if figures.get(name) is not None]
        return float(np.mean(values)) if values else None

    @property
    def digits(self) -> int:
        """After the point, of its value and its distances."""
        return count_digits(self.objective, self.value or 0.0)

    @property
    def state(self) -> str:
        states = {t.state for t in self.trials}
        return states.pop() if len(states) == 1 else "mixed"


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """Everything with an evaluation, in rank."""

    entries: tuple[Entry, ...]
    top: Standing | None  # the first's and those that compare with it; None: it has no score


@cached
def rank(records: SweepRecords) -> Ranking:
    """The configurations in the order of `rank_points`. Nothing is ranked across rungs."""
    points = rank_points(records)
    standings = _group(records, points)
    searched = next((p for p in points if not p.trials[0].is_base), None)
    top = standings.get(_key(searched)) if searched else None
    if top and searched not in top.points:
        top = None
    first = searched or (points[0] if points else None)
    entries = []
    for place, point in enumerate(points, start=1):
        own = {f.name: getattr(point, f.name) for f in fields(PointResult)}
        entry = _describe(Entry(**own, rank=place), point, standings.get(_key(point)))
        entries.append(_compare(entry, point, first, top, records) if first else entry)
    return Ranking(entries=tuple(entries), top=top)


def rank_trials(records: SweepRecords) -> tuple[Entry, ...]:
    return rank(records).entries


def find_best(records: SweepRecords) -> Entry | None:
    """The first in rank that was searched for; None: no such has a score yet."""
    return next((entry for entry in rank_trials(records) if not entry.trial.is_base), None)


def searched_fields(entries: Sequence[Entry]) -> list[str]:
    """The searched fields that some configuration has, in the space's order, without the seed."""
    names = [name for entry in entries for name in entry.trial.params if name != "seed"]
    return list(dict.fromkeys(names))


def _key(point: PointResult) -> tuple[int, bool, bool]:
    return point.milestone_turns, point.is_confirmed, point.trials[0].is_base


def _group(
    records: SweepRecords, points: Sequence[PointResult]
) -> dict[tuple[int, bool, bool], Standing]:
    """By training: points all of whose seeds got there, and made replies."""
    groups: dict[tuple[int, bool, bool], list[PointResult]] = defaultdict(list)
    for point in points:
        levels = {records.milestone_turns(e.turns_seen) for e in point.evals}
        if levels == {point.milestone_turns} and all(e.value is not None for e in point.evals):
            groups[_key(point)].append(point)
    return {
        key: find_standing(records.folder, group, is_trained=key[0] > 0)
        for key, group in groups.items()
    }


def _describe(entry: Entry, point: PointResult, standing: Standing | None) -> Entry:
    if standing is None or point not in standing.points or entry.value is None:
        return entry
    place = standing.points.index(point)
    half = float(standing.half_widths[place])
    return replace(
        entry,
        combined_interval=(entry.value - half, entry.value + half) if half else None,
        holds=standing.holds,
        chance=standing.chances[place] if standing.chances else None,
    )


def _compare(
    entry: Entry,
    point: PointResult,
    first: PointResult,
    top: Standing | None,
    records: SweepRecords,
) -> Entry:
    """The entry with its distance from the first: at its own rung (the untuned base: at the
    first's), with an interval where seeds and dialogues allow one."""
    if point is first or entry.score is None or first.score is None:
        return entry
    if point.trials[0].is_base:
        gap = entry.score - first.score
        half = _find_base_half(point, first, top, records) if top else None
        spread = (gap - half, gap + half) if half else None
        return replace(entry, behind_first=gap, behind_interval=spread)
    if point.milestone_turns == first.milestone_turns and point.is_confirmed != first.is_confirmed:
        return entry  # scored on other dialogues
    if point.milestone_turns == first.milestone_turns:
        level = replace(entry, behind_first=entry.score - first.score)
        return _compare_at_top(level, point, first, top)
    if not are_alike([*point.trials, *first.trials]):
        return entry
    there = [_last_at(records, t, entry.milestone_turns) for t in first.trials]
    is_equal = all(records.milestone_turns(e.turns_seen) == entry.milestone_turns for e in there)
    scores = [e.score for e in there if e.value is not None]
    if not is_equal or len(scores) < len(there):
        return entry
    return replace(entry, behind_first=entry.score - float(np.mean(scores)))


def _compare_at_top(
    entry: Entry, point: PointResult, first: PointResult, top: Standing | None
) -> Entry:
    compared = [top.points[i] for i in top.compared] if top else []
    if top is None or top.comparison is None or point not in compared or first not in compared:
        return entry
    comparison, place = top.comparison, compared.index(point)
    if compared[int(comparison.highest)] is not first:
        return entry
    gap, half = float(comparison.gaps[place]), float(comparison.half_widths[place])
    return replace(
        entry,
        behind_first=gap,
        behind_interval=(gap - half, gap + half),
        is_behind=bool(comparison.is_behind[place]),
    )


def _find_base_half(
    base: PointResult, first: PointResult, top: Standing, records: SweepRecords
) -> float | None:
    """Of the base's distance from the first. Seeds are the first's alone: the base is as it is."""
    if top.is_trained and not (top.noise.df and len(first.trials) > 1):
        return None
    trials, evals = (*first.trials, *base.trials), (*first.evals, *base.evals)
    draws = draw_all(records.folder, trials, evals)
    if draws is None:
        return None
    gaps = draws[:, -1] - draws[:, :-1].mean(axis=1)
    place = top.points.index(first)
    seeds = [Part(variance=part.variance[place], df=part.df) for part in top.noise.mean_parts[1:]]
    parts = [Part(variance=np.asarray(gaps.var()), df=np.inf), *seeds]
    return float(find_half_width(parts, lambda df: t_quantile(df, 0.975)))


def _last_at(records: SweepRecords, trial: TrialRecord, level: int) -> EvalRecord:
    """The trial's last evaluation at that rung, or the first one after it."""
    there = [e for e in trial.evals if records.milestone_turns(e.turns_seen) == level]
    return there[-1] if there else trial.eval_at(level) or trial.evals[-1]
