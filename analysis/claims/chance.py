"""How probable it is that each point is the best, and what more trials would be expected to gain.

A normal model with the spread of the points' true means among its unknowns: mean_i ~ N(true_i,
noise), true_i ~ N(centre, spread). A wide noise pulls the trues together, so that the highest of
many is not taken at its word. Spread and seed noise are integrated over grids (Gelman 2006: half
Cauchy for the spread).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri

from analysis.claims.variance import Floats, Noise

# What is assumed before a sweep is seen, in points of Combined. Seeds move a trial by 1 to 5
# (analysis/results/smollm2/); of the spread nothing is assumed but that it is no more than 30.
USUAL_SEED_SD, USUAL_DF = 2.0, 3.0
USUAL_SPREAD = 30.0
SPREADS = np.geomspace(0.25, 64.0, 9)
SHARES = (np.arange(5) + 0.5) / 5  # quantiles of the seed variance
DRAWS = 64  # of the trues, for each spread and seed variance


@dataclass(frozen=True, kw_only=True, eq=False)
class Beliefs:
    """The posterior, as weighted draws. Leading axes, if any, are independent sweeps."""

    weights: Floats  # [..., grid], summing to 1
    spreads: Floats  # [grid]
    noise_sds: Floats  # [..., grid]: of one new trial's score
    trues: Floats  # [..., grid, draws, points]


def believe(noise: Noise) -> Beliefs:
    """For two points at least."""
    spreads = np.repeat(SPREADS, len(SHARES))
    seed_variance = np.tile(_draw_seed_variance(noise), len(SPREADS))
    n_points = noise.means.shape[-1]
    covariance = seed_variance[..., None, None] * np.diag(1 / noise.n_seeds)
    covariance = covariance + _make_possible(noise.dialogue_covariance)[..., None, :, :]
    total = covariance + (spreads**2)[:, None, None] * np.eye(n_points)
    inverse = np.linalg.inv(total)
    sums = inverse.sum(axis=-1)
    precision = sums.sum(axis=-1)
    centred = inverse - sums[..., :, None] * sums[..., None, :] / precision[..., None, None]
    means = np.broadcast_to(noise.means[..., None, :], sums.shape)
    pulled = np.einsum("...ij,...j->...i", centred, means)
    fit = np.einsum("...i,...i->...", means, pulled)
    logs = -0.5 * (np.linalg.slogdet(total)[1] + np.log(precision) + fit)
    logs = logs + np.log(spreads / (1 + (spreads / USUAL_SPREAD) ** 2))
    weights = np.exp(logs - logs.max(axis=-1, keepdims=True))
    expected = means - np.einsum("...ij,...j->...i", covariance, pulled)
    dialogues = np.diagonal(noise.dialogue_covariance, axis1=-2, axis2=-1).mean(axis=-1)
    return Beliefs(
        weights=weights / weights.sum(axis=-1, keepdims=True),
        spreads=spreads,
        noise_sds=np.sqrt(seed_variance + np.maximum(dialogues, 0.0)[..., None]),
        trues=_draw(expected, covariance - covariance @ centred @ covariance),
    )


def find_chances(beliefs: Beliefs) -> Floats:
    """[..., points]: the probability that each is the best of them; they sum to 1."""
    best = np.argmax(beliefs.trues, axis=-1)
    shares = [np.mean(best == k, axis=-1) for k in range(beliefs.trues.shape[-1])]
    return np.einsum("...gk,...g->...k", np.stack(shares, axis=-1), beliefs.weights)


def expect_gain(beliefs: Beliefs, n_new: int) -> float:
    """Points of Combined by which the true mean of the one picked would rise on average, if
    `n_new` new points, like these and of one seed each, were trained to the end too. One sweep."""
    if n_new == 0:
        return 0.0
    rng = np.random.default_rng(n_new)
    grid, draws, n_points = beliefs.trues.shape
    spreads, sds = beliefs.spreads[:, None, None], beliefs.noise_sds[:, None, None]
    centres = beliefs.trues.mean(axis=-1, keepdims=True)
    centres = centres + spreads / np.sqrt(n_points) * rng.standard_normal((grid, draws, 1))
    new = centres + spreads * rng.standard_normal((grid, draws, n_new))
    shown = new + sds * rng.standard_normal(new.shape)
    trusted = spreads**2 / (spreads**2 + sds**2)
    known = beliefs.trues.mean(axis=1, keepdims=True)  # what is expected of each point
    judged = known.mean(axis=-1, keepdims=True) * (1 - trusted) + trusted * shown
    picked = np.argmax(judged, axis=-1)[..., None]
    is_picked = np.take_along_axis(judged, picked, -1)[..., 0] > known.max(axis=-1)
    now = np.take_along_axis(beliefs.trues, np.argmax(known, axis=-1)[..., None], -1)[..., 0]
    rise = np.where(is_picked, np.take_along_axis(new, picked, -1)[..., 0] - now, 0.0)
    return max(float(rise.mean(axis=-1) @ beliefs.weights), 0.0)


def _draw_seed_variance(noise: Noise) -> Floats:
    """[..., shares]: equally probable values, of a scaled inverse chi-squared distribution."""
    df = USUAL_DF + noise.df
    squares = USUAL_DF * USUAL_SEED_SD**2 + noise.df * noise.seed_variance
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
    half = np.random.default_rng(0).standard_normal((DRAWS // 2, expected.shape[-1]))
    normal = np.concatenate([half, -half])
    return np.asarray(
        expected[..., None, :] + normal @ np.swapaxes(roots, -1, -2), dtype=np.float64
    )
