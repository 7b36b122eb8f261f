"""What a trial's training looked like on the way: a point every few optimizer steps, evenly spread,
never more than a few hundred however long the trial grows. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

MOST_POINTS = 200  # even: full, neighbours are joined in pairs
DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class TrainingPoint:
    """One optimizer step, or several in a row."""

    turns_seen: int  # system turns trained on after the last of them
    steps: int  # optimizer steps likewise
    n_steps: int = 1  # joined here
    loss_nats: float  # their mean; of a step: the mean over its target tokens, before the step
    learning_rate: float  # of the last
    gradient_norm: float  # their mean, before clipping
    tokens_seen: int  # trained on since the trial's start
    train_s: float  # seconds of training since then; of a pass that several trials share, a part
    gpu_percent: float | None = None  # the GPU's use as nvidia-smi told it last; None: unknown
    gpu_gib: float | None = None  # its memory in use, other trials' and processes' included


COLUMNS = tuple(f.name for f in fields(TrainingPoint))


class TrainingCurve:
    """A trial's points in the order of its steps."""

    def __init__(self, points: Iterable[TrainingPoint] = (), stride: int = 1) -> None:
        self.points, self.stride = list(points), stride  # steps of a point; the last may have fewer

    def add(self, step: TrainingPoint) -> None:
        """The next step. One whose loss or gradient is not finite is left out."""
        if not (math.isfinite(step.loss_nats) and math.isfinite(step.gradient_norm)):
            return
        if self.points and self.points[-1].n_steps < self.stride:
            self.points[-1] = join(self.points[-1], step)
            return
        if len(self.points) == MOST_POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [join(one, other) for one, other in pairs]
            self.stride *= 2
        self.points.append(step)

    def copy(self) -> TrainingCurve:
        """As it is now, though another thread adds to it."""
        return TrainingCurve(self.points, self.stride)

    def to_dict(self) -> dict[str, Any]:
        """A list for each field of the points, JSON-ready: `from_dict` reads them back."""
        columns = {name: [shorten(getattr(p, name)) for p in self.points] for name in COLUMNS}
        return {"stride": self.stride, **columns}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The curve those lists spell, an empty one of {}. Raises KeyError, TypeError or ValueError
        where they are not of one length, or not of numbers."""
        columns = [check(name, values[name]) for name in COLUMNS] if values else []
        rows = zip(*columns, strict=True)
        points = [TrainingPoint(**dict(zip(COLUMNS, row, strict=True))) for row in rows]
        return cls(points, int(values.get("stride", 1)))


def join(one: TrainingPoint, other: TrainingPoint) -> TrainingPoint:
    """Two neighbours as one point."""
    n_steps = one.n_steps + other.n_steps
    means = {
        name: (getattr(one, name) * one.n_steps + getattr(other, name) * other.n_steps) / n_steps
        for name in ("loss_nats", "gradient_norm")
    }
    return TrainingPoint(**{**asdict(other), **means, "n_steps": n_steps})


def shorten(value: float | None) -> float | None:
    """
    >>> shorten(2.718281828459045), shorten(1234567), shorten(None)
    (2.71828, 1234567, None)
    """
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def check(name: str, values: list[Any]) -> list[Any]:
    """A column of that field. Raises ValueError where it holds what is no number."""
    is_optional = name.startswith("gpu_")
    for value in values:
        is_number = isinstance(value, int | float) and math.isfinite(value)
        if not is_number and not (is_optional and value is None):
            raise ValueError(f"{name} is {value!r:.60}: no number")
    return values
