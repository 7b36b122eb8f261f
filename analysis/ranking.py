"""Ranks a sweep's configurations at equal training, seeds together, noise in view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache

import numpy as np

from analysis.choice import PointResult, rank_points
from analysis.noise import DialogueCounts, Floats, draw_combined, read_counts
from analysis.records import EvalRecord, SweepRecords, TrialRecord
from trainable.evaluation.bootstrap import find_interval

METRICS = ("bleu", "inform", "success", "combined")
Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What resampling makes of a score."""

    ids: tuple[str, ...]  # the dialogues
    combined: Floats  # [resamples]; pairs with all others over the same dialogues


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry(PointResult):
    """One configuration in its rank, with its noise and its distance from the best."""

    combined_interval: Interval | None = None  # 95 %
    # Combined for resampled dialogues; None: no counts
    draws: Draws | None = field(default=None, repr=False)
    rank: int = 0  # 1: the best of those that went furthest
    behind_best: float | None = None  # Combined, points: its mean minus the best one's
    behind_interval: Interval | None = None  # 95 %, paired over dialogues; None: not comparable

    def mean_richness(self, name: str) -> float | None:
        return self.mean_of("richness", name)

    def mean_of(self, group: str, name: str) -> float | None:
        """Of one of an evaluation's groups of figures; None where no seed has it."""
        groups = [getattr(e, group) or {} for e in self.evals]
        values = [figures[name] for figures in groups if figures.get(name) is not None]
        return float(np.mean(values)) if values else None

    @property
    def is_inside_noise(self) -> bool | None:
        """Whether the best may be no better than this one; None where that cannot be said."""
        if self.behind_interval is None:
            return None
        return self.behind_interval[0] <= 0.0 <= self.behind_interval[1]

    @property
    def state(self) -> str:
        states = {t.state for t in self.trials}
        return states.pop() if len(states) == 1 else "mixed"


@lru_cache(maxsize=4)
def rank_trials(records: SweepRecords) -> tuple[Entry, ...]:
    """The configurations in the order of `rank_points`. Nothing is ranked across stations."""
    entries = [_enter(records, point) for point in rank_points(records)]
    return tuple(
        _compare(replace(entry, rank=rank), entries[0], records)
        for rank, entry in enumerate(entries, start=1)
    )


def find_best(records: SweepRecords) -> Entry | None:
    """The first in rank that was searched for; None: no such has a score yet."""
    return next((entry for entry in rank_trials(records) if not entry.trial.is_base), None)


def _enter(records: SweepRecords, point: PointResult) -> Entry:
    draws = _draw(point.evals, [read_counts(records.folder, t.id) for t in point.trials])
    if draws:
        spread: Interval | None = find_interval(draws.combined)
    else:
        only = point.evals[0].intervals if len(point.evals) == 1 else {}
        spread = only.get("combined")
    own = {f.name: getattr(point, f.name) for f in fields(PointResult)}
    return Entry(**own, combined_interval=spread, draws=draws)


def _last_at(records: SweepRecords, trial: TrialRecord, level: int) -> EvalRecord:
    """The trial's last evaluation at that station, or the first one after it."""
    there = [e for e in trial.evals if records.level_turns(e.turns_seen) == level]
    return there[-1] if there else trial.eval_at(level) or trial.evals[-1]


def _draw(evals: Sequence[EvalRecord], counts: Sequence[DialogueCounts | None]) -> Draws | None:
    """Resampled scores, if the counts of every evaluation are there, over the same dialogues."""
    found = [c for e, c in zip(evals, counts, strict=True) if c and c.turns_seen == e.turns_seen]
    if len(found) < len(evals) or len({c.ids for c in found}) != 1:
        return None
    return Draws(ids=found[0].ids, combined=draw_combined(found))


def _compare(entry: Entry, best: Entry, records: SweepRecords) -> Entry:
    """The entry with its distance from the best: at its own station (the untuned base: at the
    best's), with an interval when both were scored there last on the same dialogues."""
    if entry.trials == best.trials or entry.combined is None:
        return entry
    if entry.level_turns != best.level_turns and not entry.trial.is_base:
        there = [_last_at(records, t, entry.level_turns) for t in best.trials]
        is_equal = all(records.level_turns(e.turns_seen) == entry.level_turns for e in there)
        scores = [e.combined for e in there if e.combined is not None]
        if not is_equal or len(scores) < len(there):
            return entry
        return replace(entry, behind_best=entry.combined - float(np.mean(scores)))
    if best.combined is None:
        return entry
    spread = None
    if entry.draws and best.draws and entry.draws.ids == best.draws.ids:
        spread = find_interval(entry.draws.combined - best.draws.combined)
    behind = entry.combined - best.combined
    return replace(entry, behind_best=behind, behind_interval=spread)
