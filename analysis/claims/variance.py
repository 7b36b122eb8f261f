"""The two parts of a score's noise: which dialogues were asked, and which seeds trained.

Trials are (point, seed) on the same dialogues. A trial's score is its point's true mean, plus what
its seed made of it, plus what the dialogues make of it. The seeds' part is estimated from trials of
one point, over all points together; the dialogues' part by resampling the dialogues. What a seed
changes on single dialogues shows up in both and is counted once (Cameron, Gelbach and Miller 2011:
clustering in two ways).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from analysis.claims.quantiles import t_quantile

Floats = NDArray[np.float64]

SURE = 0.95


@dataclass(frozen=True, kw_only=True)
class Design:
    """Which trial is of which point, by which seed."""

    points: tuple[int, ...]  # of each trial: its point's place, 0, 1, ...
    seeds: tuple[int, ...]  # of each trial: the seed, which fixes the order of its data

    @cached_property
    def members(self) -> Floats:
        """[points, trials]: 1 where the trial is the point's."""
        there = np.arange(max(self.points) + 1)[:, None] == np.array(self.points)
        return there.astype(np.float64)

    @cached_property
    def n_seeds(self) -> Floats:
        """[points]"""
        return self.members.sum(axis=1)

    @cached_property
    def blocks(self) -> Floats:
        """[seeds, trials]: 1 where the trial is the seed's."""
        there = np.array(sorted(set(self.seeds)))[:, None] == np.array(self.seeds)
        return there.astype(np.float64)

    @cached_property
    def is_paired(self) -> bool:
        """Whether comparisons are made seed by seed, so that what an order of the data does to all
        points alike drops out: each point's seeds are among those of the points with as many or
        more, two at least, and that costs no more than half of the degrees of freedom."""
        groups = [
            {s for p, s in zip(self.points, self.seeds, strict=True) if p == point}
            for point in range(len(self.n_seeds))
        ]
        by_size = sorted(groups, key=len)
        is_chain = all(one <= other for one, other in pairwise(by_size))
        is_once = [len(group) for group in groups] == self.n_seeds.tolist()
        df = len(self.points) - len(groups)
        n_orders = len(by_size[-1]) - 1
        return is_chain and is_once and len(by_size[0]) > 1 and 2 * n_orders <= df

    @cached_property
    def average(self) -> Floats:
        """[points, trials]: makes the points' means."""
        return self.members / self.n_seeds[:, None]

    @cached_property
    def level(self) -> Floats:
        """[points, trials]: makes the means that are compared: where points are paired, what each
        would come to with all of the seeds (least squares on points and seeds)."""
        if not self.is_paired:
            return self.average
        n_points, n_seeds = len(self.members), len(self.blocks)
        sums_to_0 = np.repeat([0.0, 1.0], [n_points, n_seeds])[:, None]  # of what the seeds do
        equations = np.hstack([np.vstack([self.members, self.blocks]), sums_to_0]).T
        return np.asarray(np.linalg.pinv(equations)[:n_points, :-1], dtype=np.float64)

    @cached_property
    def within(self) -> Floats:
        """[trials, trials]: takes each point's mean away."""
        return _take_away(self.members)

    @cached_property
    def residual(self) -> Floats:
        """[trials, trials]: takes each point's mean away and, where points are paired, each
        seed's."""
        if not self.is_paired:
            return self.within
        return _take_away(np.vstack([self.members, self.blocks]))


def _take_away(indicators: Floats) -> Floats:
    """Projects trials onto what the groups' means do not explain."""
    explained = np.linalg.pinv(indicators) @ indicators
    return np.asarray(np.eye(len(explained)) - explained, dtype=np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A part of a variance, and how well it is known."""

    variance: Floats
    df: float  # degrees of freedom; infinite: as good as known


def find_half_width(parts: Sequence[Part], quantile: Callable[[float], float]) -> Floats:
    """Of the interval of an estimate with those parts of noise: the root of the sum of squares of
    what each would make alone (Zou and Donner's MOVER, 2008). `quantile` tells, for degrees of
    freedom, how many standard errors wide."""
    squares = [quantile(part.df) ** 2 * part.variance for part in parts]
    return np.asarray(np.sqrt(sum(squares)), dtype=np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Noise:
    """What chance does to the points' means. Leading axes, if any, are independent sweeps."""

    means: Floats  # [..., points]
    levels: Floats  # [..., points]: the means as they are compared, see `Design.level`
    shares: Floats  # [points, points]: of one trial's variance, in the covariance of the levels
    seed_variance: Floats  # [...]: of one trial in a comparison; 0 where df is 0
    df: int  # degrees of freedom of it; 0: one seed each, nothing is known of the seeds' part
    dialogue_covariance: Floats  # [..., points, points]: of the levels, beyond the seeds' part
    mean_parts: tuple[Part, ...]  # [..., points] each: of a mean by itself

    def half_widths(self, sure: float = SURE) -> Floats:
        """[..., points]: of each mean's interval."""
        return find_half_width(self.mean_parts, lambda df: t_quantile(df, 0.5 + sure / 2))

    def differ_from(self, place: NDArray[np.intp]) -> tuple[Part, Part]:
        """[..., points] each: the parts of every level's difference from the one at `place`
        [...], the dialogues' and the seeds'."""
        at = place[..., None]
        own = np.diagonal(self.dialogue_covariance, axis1=-2, axis2=-1)
        row = np.take_along_axis(self.dialogue_covariance, at[..., None], axis=-2)[..., 0, :]
        dialogues = np.maximum(own + np.take_along_axis(own, at, axis=-1) - 2 * row, 0.0)
        shares = np.diagonal(self.shares)
        of_trial = shares + shares[at] - 2 * self.shares[place]
        seeds = self.seed_variance[..., None] * np.maximum(of_trial, 0.0)
        return Part(variance=dialogues, df=np.inf), Part(variance=seeds, df=self.df or np.inf)


def estimate_noise(scores: Floats, covariance: Floats, design: Design) -> Noise:
    """From `scores` [..., trials] and `covariance` [..., trials, trials], that of the scores over
    resampled dialogues alone."""
    average, level = design.average, design.level
    of_means = average @ covariance @ average.T
    seed_variance, shared, df = _measure(scores, covariance, design.residual)
    own_shared = _measure(scores, covariance, design.within)[1]
    own = np.diagonal(of_means, axis1=-2, axis2=-1) - own_shared[..., None] / design.n_seeds
    seeds = _split_seeds(scores, covariance, design)
    shares = level @ level.T
    return Noise(
        means=scores @ average.T,
        levels=scores @ level.T,
        shares=shares,
        seed_variance=seed_variance,
        df=df,
        dialogue_covariance=level @ covariance @ level.T - shared[..., None, None] * shares,
        mean_parts=(Part(variance=np.maximum(own, 0.0), df=np.inf), *seeds),
    )


def _measure(scores: Floats, covariance: Floats, projection: Floats) -> tuple[Floats, Floats, int]:
    """The variance of one trial about what the projection takes away, as the scores show it; the
    share of it that the dialogues make; degrees of freedom."""
    df = round(float(np.trace(projection)))
    if df == 0:
        nothing = np.zeros(scores.shape[:-1])
        return nothing, nothing, 0
    shown = np.einsum("...i,ij,...j->...", scores, projection, scores) / df
    shared = np.einsum("ij,...ji->...", projection, covariance) / df
    return shown, np.minimum(shared, shown), df


def _split_seeds(scores: Floats, covariance: Floats, design: Design) -> list[Part]:
    """[..., points] each: the seeds' parts of a mean. Where points are paired, what an order of
    the data does to all of them is known from as few orders as there are."""
    projections = [design.residual]
    if design.is_paired:
        projections.append(design.within - design.residual)
    whole_df = float(np.trace(design.within)) or 1.0
    parts = []
    for projection in projections:
        variance, _, df = _measure(scores, covariance, projection)
        of_means = variance[..., None] * (df / whole_df) / design.n_seeds
        parts.append(Part(variance=of_means, df=df or np.inf))
    return parts
