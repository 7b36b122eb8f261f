"""How often intervals cover and claims are false or missed, over sweeps whose truth is known."""

import numpy as np
import pytest
from scipy import stats
from simulated import simulate, with_lead

from analysis.claims.contrasts import compare_with_highest
from analysis.claims.quantiles import range_quantile
from analysis.claims.variance import Design, estimate_noise
from tune.search.confirm import count_fresh_seeds

SWEEPS = 4000
SLACK = 0.008  # two standard errors of a rate of 5 % over that many


Seeds = int | tuple[int, ...]  # of every point, or of each


@pytest.mark.parametrize("n_seeds", [2, 3, 5, count_fresh_seeds(5)])
@pytest.mark.parametrize("order_sd", [0.0, 4.0])
def test_intervals_cover_what_they_say(n_seeds: Seeds, order_sd: float) -> None:
    rng = np.random.default_rng(n_seeds)
    noise = simulate(rng, with_lead(SWEEPS, 5, 3.0), n_seeds, order_sd=order_sd)[0]
    covered = np.abs(noise.means - with_lead(1, 5, 3.0)) <= noise.half_widths()
    assert covered.mean() > 0.95 - SLACK
    compared = compare_with_highest(noise)
    trues = np.broadcast_to(with_lead(1, 5, 3.0), noise.means.shape)
    gaps = trues - np.take_along_axis(trues, compared.highest[:, None], axis=-1)
    assert (np.abs(compared.gaps - gaps) <= compared.half_widths).mean() > 0.95


@pytest.mark.parametrize("n_seeds", [2, 3, 5, None])
@pytest.mark.parametrize("points", [2, 3, 5, 9])
def test_where_nothing_differs_nothing_is_claimed(points: int, n_seeds: int | None) -> None:
    """None: as many as confirm a race's best, of some more than of others."""
    rng = np.random.default_rng(points * (n_seeds or 1))
    seeds = n_seeds or count_fresh_seeds(points)
    compared = compare_with_highest(simulate(rng, with_lead(SWEEPS, points, 0.0), seeds)[0])
    assert compared.is_behind.any(axis=-1).mean() < 0.05 + SLACK


def test_of_two_that_share_the_lead_neither_is_put_behind_the_other() -> None:
    trues = with_lead(SWEEPS, 5, 25.0)
    trues[:, 1] += 25.0
    compared = compare_with_highest(simulate(np.random.default_rng(0), trues, 3)[0])
    assert compared.is_behind[:, :2].any(axis=-1).mean() < 0.05 + SLACK
    assert compared.is_behind[:, 2:].mean() > 0.95


def test_choices_whose_seeds_differ_in_their_noise_are_not_told_apart_more_often() -> None:
    sds = np.array([1.0, 1.0, 2.0, 3.0, 3.0])
    trues = with_lead(SWEEPS, 5, 0.0)
    compared = compare_with_highest(simulate(np.random.default_rng(1), trues, 3, seed_sd=sds)[0])
    assert compared.is_behind.any(axis=-1).mean() < 0.08


@pytest.mark.parametrize("points", [2, 3, 5, 9])
def test_a_lead_of_ten_points_is_named_by_as_many_seeds_as_confirm_it(points: int) -> None:
    rng, n_seeds = np.random.default_rng(points), count_fresh_seeds(points)
    for place in range(count_fresh_seeds(points).count(4)):
        trues = with_lead(SWEEPS, points, 10.0, place)
        compared = compare_with_highest(simulate(rng, trues, n_seeds)[0])
        assert (compared.has_best & (compared.highest == place)).mean() > 0.8
        assert (compared.has_best & (compared.highest != place)).mean() < 0.01


def test_pairing_by_the_order_of_the_data_tells_more_apart() -> None:
    trues = with_lead(500, 5, 10.0)
    trained = np.random.default_rng(0).standard_normal((500, 5, 3)) + trues[..., None]
    trained += 6 * np.random.default_rng(1).standard_normal((500, 1, 3))
    points = tuple(np.repeat(range(5), 3).tolist())
    named = {}
    for kind, seeds in {"same": (0, 1, 2) * 5, "own": tuple(range(15))}.items():
        design = Design(points=points, seeds=seeds)
        noise = estimate_noise(trained.reshape(500, 15), np.zeros((500, 15, 15)), design)
        named[kind] = compare_with_highest(noise).has_best.mean()
    assert named["same"] > 0.95 > 0.5 > named["own"]


def test_an_interval_holds_zero_exactly_where_its_point_is_not_behind() -> None:
    rng = np.random.default_rng(2)
    compared = compare_with_highest(simulate(rng, with_lead(500, 4, 6.0), 3)[0])
    is_other = compared.gaps < 0
    holds_zero = compared.gaps + compared.half_widths >= 0
    assert np.array_equal(holds_zero[is_other], ~compared.is_behind[is_other])


def test_without_a_part_of_seeds_dialogues_alone_decide() -> None:
    """As in decoding one adapter: nothing is trained."""
    design = Design(points=(0, 1, 2), seeds=(0, 0, 0))
    noise = estimate_noise(np.array([90.0, 84.0, 70.0]), np.diag([4.0, 4.0, 4.0]), design)
    compared = compare_with_highest(noise)
    assert noise.df == 0
    assert compared.is_behind.tolist() == [False, True, True]
    assert noise.half_widths().tolist() == pytest.approx([3.92] * 3, abs=0.01)


@pytest.mark.parametrize(("n_means", "df"), [(2, 1), (3, 3), (5, 8), (16, 30)])
def test_quantiles_of_the_range_are_those_of_scipy(n_means: int, df: int) -> None:
    expected = stats.studentized_range.ppf(0.95, n_means, df)
    assert range_quantile(n_means, df) == pytest.approx(expected, rel=2e-3)
