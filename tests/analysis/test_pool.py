"""A pool of curves: what is kept of its sweeps, and what a simulated search sees of it."""

from pathlib import Path

import numpy as np
import pytest

from analysis.noise import read_counts, score_combined
from analysis.pool import Pool, collect, read_pool, write_pool
from analysis.records import read_sweep
from trainable.trial import ConfigError
from tune.search.milestones import list_milestones
from tune.simulate.recorded import open_pool

LAYERS = Path(__file__).parents[2] / "analysis/results/layers/layers"


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("pool")
    write_pool(collect("layers", [read_sweep(LAYERS)]), folder)
    return read_pool(folder)


def test_points_seeds_and_scores_are_those_of_the_sweep(pool: Pool) -> None:
    trials = read_sweep(LAYERS).searched
    assert len(pool.params) == 9 and len(pool.curves) == len(trials) == 45
    for trial in trials:
        point = pool.params.index(trial.params)
        rows = pool.select(int(trial.config["seed"]))
        assert trial.last is not None
        assert rows[rows.point == point].combined.tolist() == [trial.last.combined]


def test_halves_are_disjoint_and_together_the_whole(pool: Pool) -> None:
    counts = read_counts(LAYERS, "0000")
    assert counts is not None
    for half, rows in (("a", counts.counts[::2]), ("b", counts.counts[1::2])):
        combined = float(score_combined(len(rows), rows.sum(axis=0)[None])[0])
        assert pool.score_half(half)[0, 0] == pytest.approx(combined)


def test_a_points_worth_is_the_mean_of_its_seeds_on_the_other_half(pool: Pool) -> None:
    assert pool.find_truth()[3] == pytest.approx(pool.score_half("b")[3].mean())


def test_a_simulated_search_sees_one_seed_on_one_half(pool: Pool) -> None:
    curves = open_pool(pool, range(1, 9, 2))
    assert len(curves.runs) == 4
    config, end = next(iter(curves.runs)), list_milestones(curves.config, 8000)[-1]
    for seed in range(7):
        seen = curves.repeat(seed).advance(config, -1, end).result.combined
        assert seen == pytest.approx(pool.score_half("a")[1, seed % 5])
    assert curves.worth(config) == pytest.approx(pool.find_truth()[1])


def test_tables_for_optuna_and_syne_tune(pool: Pool) -> None:
    study = pool.to_study(seed=2)
    best = pool.params[int(pool.select(2).set_index("point").combined.idxmax())]
    assert study.best_params == best and list(study.best_trial.intermediate_values) == [8000]
    partial = Pool(
        **{**vars(pool), "curves": pool.curves[(pool.curves.point != 0) | (pool.curves.seed != 4)]}
    )
    table = partial.to_blackbox()
    values = table["objectives_evaluations"]
    assert values.shape == (9, 5, 1, 2) and table["fidelity_values"].tolist() == [8000]
    assert np.isnan(values[0, 4]).all() and not np.isnan(values).sum() > 2


def test_a_folder_without_a_pool_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no pool of curves .*python -m analysis\.pool"):
        read_pool(tmp_path)
