"""A pool of curves: what is kept of its sweeps, and what a simulated search sees of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.curve_pool import Pool, read_pool
from analysis.noise import read_counts, score_combined
from analysis.pool import collect, write_pool
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
    assert curves.true_combined(config) == pytest.approx(pool.find_truth()[1])


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


def keep(pool: Pool, name: str, seeds: tuple[int, ...]) -> Pool:
    """The pool as a sweep of those seeds alone would have made it, its points in another order."""
    order = range(len(pool.params))[::-1]
    tables = {
        table: rows[rows.seed.isin(seeds)].assign(point=order[-1] + order[0] - rows.point)
        for table, rows in (("curves", pool.curves), ("dialogues", pool.dialogues))
    }
    return replace(pool, name=name, params=tuple(pool.params[n] for n in order), **tables)


def test_seeds_of_another_sweep_are_joined_to_their_points(pool: Pool, tmp_path: Path) -> None:
    parts = keep(pool, "early", (0, 1)), keep(pool, "late", (2, 3, 4))
    write_pool(parts[0], tmp_path)
    joined = collect("both", [read_pool(tmp_path), parts[1]])
    assert [s["name"] for s in joined.header["sources"]] == ["layers", "layers"]
    for number, params in enumerate(joined.params):
        twin = pool.params.index(params)
        assert joined.find_truth()[number] == pytest.approx(pool.find_truth()[twin])
    assert len(joined.params) == 9 and len(joined.curves) == len(pool.curves)
    last = replace(parts[1], curves=parts[1].curves.assign(weights="last"))
    last = replace(last, dialogues=last.dialogues.assign(weights="last"))
    both = collect("both", [parts[1], last])
    assert both.find_truth().tolist() == collect("one", [parts[1]]).find_truth().tolist()
    assert len(both.select(2, "last")) == len(both.select(2)) == 9


def test_what_does_not_belong_together_is_refused(pool: Pool) -> None:
    part = keep(pool, "late", (2,))
    with pytest.raises(ConfigError, match="a trial of the same point, seed and weights"):
        collect("both", [pool, part])
    other = {**part.header["config"], "train_turns": 9000}
    longer = replace(part, header={**part.header, "config": other})
    with pytest.raises(ConfigError, match=r"late was not made .* \(train_turns: 9000, there 80"):
        collect("both", [keep(pool, "early", (0, 1)), longer])
