from __future__ import annotations

import numpy as np

from trainable.evaluation.bootstrap import RESAMPLES, draw_weights, find_interval, resample_rate


def test_every_resample_has_as_many_dialogues() -> None:
    weights = draw_weights(17)
    assert weights.shape == (RESAMPLES, 17)
    assert (weights.sum(axis=1) == 17).all()
    assert abs(weights.mean() - 1) < 1e-12
    assert weights.std(axis=0).min() > 0.5


def test_the_seed_decides() -> None:
    assert (draw_weights(9, seed=1) == draw_weights(9, seed=1)).all()
    assert (draw_weights(9, seed=1) != draw_weights(9, seed=2)).any()


def test_the_interval_has_the_width_that_theory_gives() -> None:
    hits = np.zeros(1000)
    hits[:900] = 1
    low, high = find_interval(resample_rate(draw_weights(1000), hits, np.ones(1000)))
    assert low < 90 < high
    assert abs((high - low) - 2 * 1.96 * 100 * (0.9 * 0.1 / 1000) ** 0.5) < 0.4


def test_resamples_without_a_case_are_left_out() -> None:
    cases = np.array([1.0, 0, 0])
    assert find_interval(resample_rate(draw_weights(3), cases, cases)) == (100, 100)
