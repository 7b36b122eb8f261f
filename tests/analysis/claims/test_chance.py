"""The probability of being the best is one: over sweeps of known truth it comes true as often."""

from itertools import pairwise

import numpy as np
import pytest
from simulated import simulate

from analysis.claims.chance import Posterior, expect_gain, find_chances, fit_posterior
from analysis.claims.variance import Design, estimate_noise

SWEEPS = 500  # of each kind: 2,500 in all
# points, seeds, spread of the trues, standard deviation of a seed's own part
KINDS = (
    *((5, 2, 4.0, 2.0), (5, 3, 4.0, 1.0), (8, 3, 8.0, 4.0), (3, 5, 2.5, 3.0)),
    (6, 1, 1.5, 0.0),  # nothing trained, as in decoding: of trained ones with one seed none is said
)
LIMITS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.01)


def test_it_comes_true_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    said, came, logs, uniform = [], [], [], []
    for points, n_seeds, spread, seed_sd in KINDS:
        trues = 85.0 + spread * rng.standard_normal((SWEEPS, points))
        chances = find_chances(fit_posterior(simulate(rng, trues, n_seeds, seed_sd=seed_sd)[0]))
        best = np.argmax(trues, axis=-1)
        said.append(chances.ravel())
        came.append((np.arange(points) == best[:, None]).ravel())
        logs.append(np.log(np.maximum(chances[np.arange(SWEEPS), best], 1e-3)))
        uniform.append(np.full(SWEEPS, -np.log(points)))
    chance, true = np.concatenate(said), np.concatenate(came)
    assert np.mean(logs) > np.mean(uniform) + 0.4
    for low, high in pairwise(LIMITS):
        there = (chance >= low) & (chance < high)
        assert abs(chance[there].mean() - true[there].mean()) < 0.05, (low, high, there.sum())


def hold(means: list[float], n_seeds: int = 3, apart: float = 2.0) -> Posterior:
    scores = np.add.outer(means, apart * np.linspace(-1, 1, n_seeds)).ravel()
    points = tuple(np.repeat(range(len(means)), n_seeds).tolist())
    design = Design(points=points, seeds=tuple(range(len(points))))
    return fit_posterior(estimate_noise(scores, np.eye(len(points)), design))


def test_a_lead_counts_for_less_on_few_seeds() -> None:
    few, many = hold([88, 85, 84], 2), hold([88, 85, 84], 5)
    first, second = find_chances(few)[0], find_chances(many)[0]
    assert 0.4 < first < second < 1.0
    assert find_chances(many).sum() == pytest.approx(1.0)


def test_more_trials_gain_more_where_trials_differ_more() -> None:
    level, wide = hold([85, 85.2, 84.8, 85.1]), hold([85, 60, 75, 95, 80, 90])
    assert expect_gain(level, 16) < 2.0 < expect_gain(wide, 16)
    assert expect_gain(wide, 4) < expect_gain(wide, 16)
    assert expect_gain(wide, 0) == 0.0
