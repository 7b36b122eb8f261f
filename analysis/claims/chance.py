"""How probable it is that each point is the best, and what more trials would be expected to gain.

A normal model with the spread of the points' true means among its unknowns: mean_i ~ N(true_i,
noise), true_i ~ N(centre, spread). A wide noise pulls the trues together, so that the highest of
many is not taken at its word. Spread and seed noise are integrated over grids (Gelman 2006: half
Cauchy for the spread).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri

from analysis.claims.variance import Floats, Noise

# What is assumed before a sweep is seen, in points of Combined, worth three degrees of freedom:
# seeds move a trial by 1 to 3 (analysis/results/smollm2/). Of the spread only that it is no more
# than 30. Nothing is believed of trained points with one seed each: whatever was assumed of their
# seeds would decide.
SEED_SD, ASSUMED_DF = 2.0, 3.0
WIDEST = 30.0
SPREADS = np.geomspace(0.25, 64.0, 9)
SHARES = (np.arange(5) + 0.5) / 5  # quantiles of the seed variance
DRAWS = 64  # of the trues, for each spread and seed variance


@dataclass(frozen=True, kw_only=True, eq=False)
class Posterior:
    """The posterior, as weighted draws. Leading axes, if any, are independent sweeps."""

    weights: Floats  # [..., grid], summing to 1
    spreads: Floats  # [grid]
    noise_sds: Floats  # [..., grid]: of one new trial's score
    trues: Floats  # [..., grid, draws, points]


def fit_posterior(noise: Noise) -> Posterior:
    """For two points at least, of two seeds each as a rule, or such that nothing was trained."""
    spreads = np.repeat(SPREADS, len(SHARES))
    seed_variance = np.tile(_draw_seed_variance(noise), len(SPREADS))
    n_points = noise.levels.shape[-1]
    covariance = seed_variance[..., None, None] * noise.shares
    covariance = covariance + _make_possible(noise.dialogue_covariance)[..., None, :, :]
    total = covariance + (spreads**2)[:, None, None] * np.eye(n_points)
    inverse = np.linalg.inv(total)
    sums = inverse.sum(axis=-1)
    precision = sums.sum(axis=-1)
    centred = inverse - sums[..., :, None] * sums[..., None, :] / precision[..., None, None]
    means = np.broadcast_to(noise.levels[..., None, :], sums.shape)
    pulled = np.einsum("...ij,...j->...i", centred, means)
    fit = np.einsum("...i,...i->...", means, pulled)
    logs = -0.5 * (np.linalg.slogdet(total)[1] + np.log(precision) + fit)
    logs = logs + np.log(spreads / (1 + (spreads / WIDEST) ** 2))
    weights = np.exp(logs - logs.max(axis=-1, keepdims=True))
    expected = means - np.einsum("...ij,...j->...i", covariance, pulled)
    dialogues = np.diagonal(noise.dialogue_covariance, axis1=-2, axis2=-1).mean(axis=-1)
    return Posterior(
        weights=weights / weights.sum(axis=-1, keepdims=True),
        spreads=spreads,
        noise_sds=np.sqrt(seed_variance + np.maximum(dialogues, 0.0)[..., None]),
        trues=_draw(expected, covariance - covariance @ centred @ covariance),
    )


def find_chances(posterior: Posterior) -> Floats:
    """[..., points]: the probability that each is the best of them; they sum to 1."""
    best = posterior.trues >= posterior.trues.max(axis=-1, keepdims=True) - 1e-6
    shares = (best / best.sum(axis=-1, keepdims=True)).mean(axis=-2)  # equal replies share
    return np.einsum("...gk,...g->...k", shares, posterior.weights)


def expect_gain(posterior: Posterior, n_new: int) -> float:
    """Points of Combined by which the true mean of the one picked would rise on average, if
    `n_new` new points of one seed each were trained to the end too. New ones are as those known
    (a smoothed bootstrap: Silverman 1986), which need not be normal: a pool has its ceiling.
    One sweep."""
    if n_new == 0:
        return 0.0
    rng = np.random.default_rng(n_new)
    grid, draws, n_points = posterior.trues.shape
    known = posterior.trues.mean(axis=1, keepdims=True)  # [grid, 1, points]
    drawn = rng.integers(n_points, size=(grid, draws, n_new))
    new = np.take_along_axis(np.broadcast_to(known, posterior.trues.shape), drawn, axis=-1)
    new = new + _find_width(known) * rng.standard_normal(new.shape)
    noise = posterior.noise_sds[:, None, None]
    trusted = posterior.spreads[:, None, None] ** 2 / (
        posterior.spreads[:, None, None] ** 2 + noise**2
    )
    shown = new + noise * rng.standard_normal(new.shape)
    judged = known.mean(axis=-1, keepdims=True) * (1 - trusted) + trusted * shown
    picked = np.argmax(judged, axis=-1)[..., None]
    is_picked = np.take_along_axis(judged, picked, -1) > known.max(axis=-1, keepdims=True)
    rise = np.take_along_axis(new, picked, -1) - known.max(axis=-1, keepdims=True)
    return max(float(np.where(is_picked, rise, 0.0)[..., 0].mean(axis=-1) @ posterior.weights), 0.0)


def _find_width(known: Floats) -> Floats:
    """[..., 1]: of the kernel around each point (Silverman's rule)."""
    quarters = np.percentile(known, (25, 75), axis=-1)
    spread = np.minimum(known.std(axis=-1), (quarters[1] - quarters[0]) / 1.34)
    return np.asarray(1.06 * spread[..., None] * known.shape[-1] ** -0.2, dtype=np.float64)


def _draw_seed_variance(noise: Noise) -> Floats:
    """[..., shares]: equally probable values, of a scaled inverse chi-squared distribution; 0
    where nothing was trained."""
    if not noise.df:
        return np.zeros((*noise.seed_variance.shape, len(SHARES)))
    df = ASSUMED_DF + noise.df
    squares = ASSUMED_DF * SEED_SD**2 + noise.df * noise.seed_variance
    return np.asarray(squares[..., None] / chdtri(df, SHARES), dtype=np.float64)


def _make_possible(covariance: Floats) -> Floats:
    """Without the negative variances that differences of estimates leave."""
    values, vectors = np.linalg.eigh(covariance)
    kept = vectors * np.maximum(values, 0.0)[..., None, :]
    return np.asarray(kept @ np.swapaxes(vectors, -1, -2), dtype=np.float64)


def _draw(expected: Floats, covariance: Floats) -> Floats:
    """[..., draws, points]: normal, the same ones whenever they are asked for."""
    values, vectors = np.linalg.eigh(covariance)
    roots = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    shape = (len(SPREADS) * len(SHARES), DRAWS // 2, expected.shape[-1])
    half = np.random.default_rng(0).standard_normal(shape)
    normal = np.concatenate([half, -half], axis=1)
    return np.asarray(
        expected[..., None, :] + normal @ np.swapaxes(roots, -1, -2), dtype=np.float64
    )
