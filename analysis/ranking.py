"""Ranks a sweep's configurations at equal training, seeds together, noise in view."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np

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
class Entry:
    """One configuration: its seeds' evaluations at the last station that all of them reached."""

    trials: tuple[TrialRecord, ...]
    evals: tuple[EvalRecord, ...]  # one a trial
    level_turns: int  # the station of training compared at
    combined_interval: Interval | None  # 95 %
    draws: Draws | None = field(repr=False)  # Combined for resampled dialogues; None: no counts
    rank: int = 0  # 1: the best of those that went furthest
    behind_best: float | None = None  # Combined, points: its mean minus the best one's
    behind_interval: Interval | None = None  # 95 %, paired over dialogues; None: not comparable

    @cached_property
    def trial(self) -> TrialRecord:
        """The best of the seeds."""
        scores = [e.combined for e in self.evals]
        return self.trials[scores.index(max(scores))]

    def mean(self, metric: str) -> float:
        return float(np.mean([getattr(e, metric) for e in self.evals]))

    def mean_richness(self, name: str) -> float | None:
        values = [e.richness[name] for e in self.evals if name in e.richness]
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
    """The configurations with a score, those that trained longest first, the best Combined of
    each station before the others. Nothing is ranked across stations."""
    entries = [_enter(records, seeds) for seeds in group_seeds(records.scored)]
    entries.sort(key=lambda e: (-e.level_turns, -e.mean("combined"), e.trial.number))
    return tuple(
        _compare(replace(entry, rank=rank), entries[0], records)
        for rank, entry in enumerate(entries, start=1)
    )


def find_best(records: SweepRecords) -> Entry | None:
    """The first in rank that was searched for; None: no such has a score yet."""
    return next((entry for entry in rank_trials(records) if not entry.trial.is_base), None)


def group_seeds(trials: Iterable[TrialRecord]) -> list[tuple[TrialRecord, ...]]:
    """Trials that differ in their seed only, together."""
    groups: dict[str, list[TrialRecord]] = defaultdict(list)
    for trial in trials:
        config = {k: v for k, v in trial.config.items() if k != "seed"}
        groups[json.dumps([trial.is_base, config], sort_keys=True, default=str)].append(trial)
    return [tuple(group) for group in groups.values()]


def _enter(records: SweepRecords, trials: tuple[TrialRecord, ...]) -> Entry:
    level = min(records.level_turns(t.evals[-1].turns_seen) for t in trials)
    evals = tuple(_last_at(records, t, level) for t in trials)
    draws = _draw(evals, [read_counts(records.folder, t.id) for t in trials])
    if draws:
        spread: Interval | None = find_interval(draws.combined)
    else:
        spread = evals[0].intervals.get("combined") if len(evals) == 1 else None
    return Entry(
        trials=trials, evals=evals, level_turns=level, combined_interval=spread, draws=draws
    )


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
    if entry.trials == best.trials:
        return entry
    if entry.level_turns != best.level_turns and not entry.trial.is_base:
        there = [_last_at(records, t, entry.level_turns) for t in best.trials]
        is_equal = all(records.level_turns(e.turns_seen) == entry.level_turns for e in there)
        if not is_equal:
            return entry
        behind = entry.mean("combined") - float(np.mean([e.combined for e in there]))
        return replace(entry, behind_best=behind)
    spread = None
    if entry.draws and best.draws and entry.draws.ids == best.draws.ids:
        spread = find_interval(entry.draws.combined - best.draws.combined)
    behind = entry.mean("combined") - best.mean("combined")
    return replace(entry, behind_best=behind, behind_interval=spread)
