"""After the race: the best points once more with fresh seeds, to the end and on all validation
dialogues. What a race's best is measured to be is partly luck; what they come to then is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import count, islice
from typing import Any

from analysis.choice import PointResult, rank_points
from analysis.records import CONFIRMATION, EARLY_SEEDS, RUNNING, SweepRecords, TrialRecord
from analysis.verdict import find_asked
from tune.search.config import SweepConfig

Origin = dict[str, Any]


def list_unconfirmed(
    records: SweepRecords, config: SweepConfig
) -> list[tuple[TrialRecord, Origin]]:
    """(a point's first trial, the origin of the confirmation) of those that are still to come: a
    function of the records, so that a driver that died among them is followed by one that opens
    the rest. Where nothing is trained one seed says it all."""
    chosen = list_confirmable(find_race(records))[: config.confirm]
    counts = count_fresh_seeds(len(chosen))
    return _list_missing(records, config, chosen, counts)


def list_settled(records: SweepRecords, config: SweepConfig) -> list[tuple[TrialRecord, Origin]]:
    """Those of them that are sure before the race is over, for workers that it has no work for: of
    choices that are all confirmed and have no trial under way, the seeds that every choice gets."""
    race = find_race(records)
    points = [p for p in rank_points(race) if not p.trial.is_base]
    asked = find_asked(race.space, points)
    choices = {str(t.params.get(asked)) for t in race.searched}
    is_trained = all(t.config.get("method") != "none" for t in race.searched)
    if not asked or not is_trained or len(choices) > config.confirm:
        return []
    under_way = {str(t.params.get(asked)) for t in race.searched if t.state == RUNNING}
    chosen = list_confirmable(race)[: len(choices)]
    settled = [p for p in chosen if str(p.trial.params.get(asked)) not in under_way]
    return _list_missing(records, config, settled, [EARLY_SEEDS] * len(settled))


def find_race(records: SweepRecords) -> SweepRecords:
    """The sweep without its confirmations."""
    return replace(records, trials=tuple(t for t in records.trials if not t.is_confirmation))


def _list_missing(
    records: SweepRecords, config: SweepConfig, points: Sequence[PointResult], counts: Sequence[int]
) -> list[tuple[TrialRecord, Origin]]:
    there = [dict(t.config) for t in records.trials if t.is_confirmation]
    missing = []
    for seeds, n_seeds in zip((point.trials for point in points), counts, strict=True):
        first = min(seeds, key=lambda t: t.number)
        used = {t.config["seed"] for t in seeds}
        fresh = (s for s in count(config.seed + config.seeds) if s not in used)
        is_untrained = first.config.get("method") == "none"
        for seed in islice(fresh, 1 if is_untrained else n_seeds):
            if {**first.config, "seed": seed} not in there:
                missing.append((first, spell_origin(first, seed)))
    return missing


def list_confirmable(race: SweepRecords) -> list[PointResult]:
    """The points that may be confirmed, in their order: those that reached the end, and, where
    choices are compared, the best of a choice none of which did: what its few turns allow to say of
    it is less than was asked."""
    points = [p for p in rank_points(race) if not p.trial.is_base]
    ended = {id(p) for p in points if any(t.state == "COMPLETE" for t in p.trials)}
    asked = find_asked(race.space, points)
    seen: set[str] = set()
    confirmable = []
    for point in points:
        choice = str(point.trial.params.get(asked))
        if id(point) in ended or (ended and asked and choice not in seen):
            confirmable.append(point)
        seen.add(choice)
    return spread(confirmable, race)


def spread(points: Sequence[PointResult], records: SweepRecords) -> list[PointResult]:
    """The points in an order in which the highest of every choice that the space's question is
    about come before second ones of a choice: seeds are spent on what was asked."""
    asked = find_asked(records.space, points)
    seen: Counter[str] = Counter()
    turns = []
    for point in points:
        choice = str(point.trial.params.get(asked, point.trial.id))
        turns.append(seen[choice])
        seen[choice] += 1
    places = sorted(range(len(points)), key=lambda i: turns[i])
    return [points[i] for i in places]


def spell_origin(trial: TrialRecord, seed: int) -> Origin:
    own = {"trial": trial.id, "set": {"seed": seed}, "warm": False, "in_study": False}
    return {"kind": CONFIRMATION, **own}


def count_fresh_seeds(points: int) -> tuple[int, ...]:
    """Of each of so many points, the first of the race first. The front half, where the answer
    lies, has four; who was left behind lies further behind than two seeds can hide. A lead of 10
    points is named in 95 % of sweeps of five points (analysis/results/claims)."""
    if points < 2:
        return (3,) * points
    front = max(points - points // 2, 2)
    return (4,) * front + (EARLY_SEEDS,) * (points - front)


def describe_fresh_seeds(points: int) -> str:
    """
    >>> describe_fresh_seeds(5), describe_fresh_seeds(2)
    ('4 fresh seeds of the first 3 and 2 of the others', '4 fresh seeds each')
    """
    counts = count_fresh_seeds(points)
    if counts[0] == counts[-1]:
        return f"{counts[0]} fresh seeds each"
    front = counts.count(counts[0])
    return f"{counts[0]} fresh seeds of the first {front} and {counts[-1]} of the others"
