"""What each trial's training looked like, step by step: `trials/ID/training.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from analysis.cached import cached
from analysis.lines import parse
from analysis.records import SweepRecords
from trainable.training_curve import TrainingCurve, TrainingPoint, shorten

TRAINING = "training.json"
T = TypeVar("T")


def read_training(folder: Path, trial: str) -> tuple[TrainingPoint, ...]:
    """A trial's points by steps; () where its sweep did not keep them yet (or the file is damaged:
    a figure lacks it, and nothing else rests on it)."""
    try:
        values = parse((folder / "trials" / trial / TRAINING).read_bytes())
        return tuple(TrainingCurve.from_dict(values).points)
    except (OSError, ValueError, KeyError, TypeError):
        return ()


@cached
def read_trainings(records: SweepRecords) -> Mapping[str, tuple[TrainingPoint, ...]]:
    """Of all trials that have any, by trial."""
    found = {t.id: read_training(records.folder, t.id) for t in records.trials}
    return {trial: points for trial, points in found.items() if points}


def thin(values: Sequence[T], most: int) -> Sequence[T]:
    """Every second, third ... of them, as few as are asked for and the last among them.

    >>> thin(range(10), 4)
    [0, 3, 6, 9]
    """
    stride = -(-len(values) // most)
    return list(values[::-1][::stride])[::-1]


def list_speeds(points: Sequence[TrainingPoint]) -> list[float | None]:
    """Tokens a second between each point and the one before, of the trial's own seconds; None: no
    time passed, or the point before was trained later (a schedule's branch began anew).

    >>> from dataclasses import replace
    >>> one = TrainingPoint(turns_seen=8, steps=1, loss_nats=2.0, learning_rate=0.1,
    ...     gradient_norm=1.0, tokens_seen=300, train_s=0.5)
    >>> list_speeds([one, replace(one, steps=2, tokens_seen=800, train_s=1.0)])
    [600.0, 1000.0]
    """
    if not points:
        return []
    steps = [(points[0].tokens_seen, points[0].train_s)]
    steps += [(b.tokens_seen - a.tokens_seen, b.train_s - a.train_s) for a, b in pairwise(points)]
    return [shorten(tokens / s) if s > 0 and tokens > 0 else None for tokens, s in steps]


def list_metrics(points: Sequence[TrainingPoint]) -> list[tuple[int, dict[str, float]]]:
    """(turns, what was measured there) as trackers have it, by names that they group by."""
    lines = []
    for point, speed in zip(points, list_speeds(points), strict=True):
        values = {
            "train/loss": point.loss_nats,
            "train/learning_rate": point.learning_rate,
            "train/gradient_norm": point.gradient_norm,
            "train/tokens_per_s": speed,
            "gpu/percent": point.gpu_percent,
            "gpu/memory_gib": point.gpu_gib,
        }
        lines.append((point.turns_seen, {n: v for n, v in values.items() if v is not None}))
    return lines
