"""Which points lie behind the highest, corrected for how many were compared.

The highest is picked by the same scores, so that all pairs count as comparisons. Step by step: the
largest standardised gap is held against what the range of all K means does by chance (Tukey and
Kramer's test), and only if it is larger, the next against the range of K - 1, ... the last against
2. So no more than 5 % of sweeps in which nothing differs claim anything, and the highest is called
best only where every other lies behind it. That the last step may be that of one single pair is
Gutmann and Maymin's (1987) result for a population selected as the best.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.claims.quantiles import range_quantile
from analysis.claims.variance import SURE, Floats, Noise, Part, find_half_width


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Every point against the highest. Leading axes, if any, are independent sweeps."""

    highest: NDArray[np.intp]  # [...]: the place of the highest mean
    gaps: Floats  # [..., points]: a mean minus the highest, as they are compared
    half_widths: Floats  # [..., points]: of the gaps' intervals; 0 at the highest itself
    is_behind: NDArray[np.bool_]  # [..., points]: more than chance makes

    @property
    def has_best(self) -> NDArray[np.bool_]:
        """[...]: whether all others lie behind the highest."""
        return np.asarray(self.is_behind.sum(axis=-1) == self.gaps.shape[-1] - 1)


def compare_with_highest(noise: Noise, *, sure: float = SURE) -> Comparison:
    """The noise's points, two at least, each with what is known of its seeds (noise.df > 0), or
    without any part of theirs."""
    highest = np.argmax(noise.means, axis=-1)
    gaps = noise.levels - np.take_along_axis(noise.levels, highest[..., None], axis=-1)
    parts = noise.differ_from(highest)
    n_points = gaps.shape[-1]
    sizes = range(n_points, 1, -1)  # of the range that each step looks at
    limits = np.stack([_find_limits(parts, size, sure) for size in sizes], axis=-2)
    others = np.arange(n_points) != highest[..., None]
    ratios = np.where(others, -gaps / np.maximum(limits[..., 0, :], 1e-9), -np.inf)
    order = np.argsort(-ratios, axis=-1, kind="stable")  # the highest itself comes last
    gaps_in_order = np.take_along_axis(gaps, order, axis=-1)[..., :-1]
    steps = np.take_along_axis(limits, order[..., None, :], axis=-1)[..., :-1]
    behind = np.logical_and.accumulate(
        -gaps_in_order > np.diagonal(steps, axis1=-2, axis2=-1), axis=-1
    )
    # An interval holds 0 exactly where its point is not behind: after the first step that failed
    # all are as wide as that step's.
    ended = np.minimum(behind.sum(axis=-1, keepdims=True), n_points - 2)
    at_step = np.where(behind, np.arange(n_points - 1), ended)
    widths = np.take_along_axis(steps, at_step[..., None, :], axis=-2)[..., 0, :]
    return Comparison(
        highest=highest,
        gaps=gaps,
        half_widths=_put(order, widths, 0.0),
        is_behind=_put(order, behind, False),
    )


def _find_limits(parts: Sequence[Part], size: int, sure: float) -> Floats:
    """[..., points]: how large a gap chance makes among `size` points."""
    return find_half_width(parts, lambda df: range_quantile(size, df, sure) / np.sqrt(2))


def _put(order: NDArray[np.intp], values: NDArray[Any], at_highest: Any) -> NDArray[Any]:
    """[..., points] from [..., points - 1] in that order."""
    placed = np.full(order.shape, at_highest, dtype=values.dtype)
    np.put_along_axis(placed, order[..., :-1], values, axis=-1)
    return placed
