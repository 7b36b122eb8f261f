"""The search without Ray: who is tried, who goes on, what is recorded."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from inline import carry_out, make_config, open_search, run_inline

from analysis.leaderboard import render
from analysis.ranking import rank_trials
from analysis.records import SweepRecords, read_sweep
from search_spaces.find import find_space
from tune.search.search import Search

Sweep = Callable[..., SweepRecords]


def summarise(records: SweepRecords) -> list[tuple]:
    """All that decides a leaderboard, without times and places."""
    return [
        (t.id, t.state, t.reason, dict(t.config), [(e.turns_seen, e.combined) for e in t.evals])
        for t in records.trials
    ]


def test_a_sweep_prunes_most_and_finds_a_good_learning_rate(sweep: Sweep) -> None:
    records = sweep(trials=20)
    counts = records.count_states()
    assert counts["PRUNED"] >= 10 and sum(counts.values()) == 20
    best = max(records.scored, key=lambda t: t.last.combined if t.last else 0.0)
    base = records.trials[0]
    assert base.is_base and base.state == "COMPLETE" and base.config["method"] == "none"
    assert best.last.combined > base.last.combined + 50
    assert best.params["learning_rate"] > 5e-4


def test_the_named_points_come_first_and_nothing_is_tried_twice(sweep: Sweep) -> None:
    trials = sweep(trials=16).searched
    named = [dict(point) for point in find_space("lora_modules").first]
    assert [dict(t.params) for t in trials[: len(named)]] == named
    assert {"lora_modules": "all-linear", "learning_rate": 2e-4} in named  # the lab's own setting
    assert len({json.dumps(dict(t.params)) for t in trials}) == 16
    assert len({t.config["seed"] for t in trials}) == 1


def test_every_point_with_several_seeds(tmp_path: Path) -> None:
    """In groups, also after an interruption in the middle of one; ranked as one configuration."""
    config, space = make_config(tmp_path, trials=7, seeds=3, seed=5, asha="off")
    search, _ = open_search(replace(config, trials=4), space)
    run_inline(search)
    run_inline(open_search(config, space)[0])
    records = read_sweep(config.folder)
    trials = records.searched
    assert [t.config["seed"] for t in trials] == [5, 6, 7, 5, 6, 7, 5]
    points = [json.dumps(dict(t.params)) for t in trials]
    assert points[0] == points[1] == points[2] and points[3] == points[4] == points[5]
    assert len(set(points)) == 3 and not records.warnings
    entries = [e for e in rank_trials(records) if not e.trial.is_base]
    assert sorted(len(e.trials) for e in entries) == [1, 3, 3]
    assert "x3" in render(config.folder)


@pytest.mark.parametrize("asha", ["stop", "promote", "off"])
def test_the_same_seed_gives_the_same_sweep(tmp_path: Path, asha: str) -> None:
    runs = []
    for name in ("a", "b"):
        config, space = make_config(tmp_path, name=name, asha=asha)
        run_inline(open_search(config, space)[0])
        runs.append(summarise(read_sweep(config.folder)))
    assert runs[0] == runs[1]


def test_promotion_trains_the_best_third_of_each_rung(sweep: Sweep) -> None:
    records = sweep(trials=18, asha="promote", room=4)
    first, second = records.config["rungs_turns"]
    reached = [sum(t.eval_at(r) is not None for t in records.searched) for r in (first, second)]
    assert reached[0] == 18 and 6 <= reached[1] <= 10  # early arrivals may fall back later
    assert records.count_states()["COMPLETE"] in (2, 3)
    at_first = {t.id: t.eval_at(first).combined for t in records.searched}
    promoted = {t.id for t in records.searched if t.eval_at(second)}
    best_two = sorted(at_first, key=lambda i: -at_first[i])[:2]
    assert set(best_two) <= promoted


def test_even_a_small_sweep_promotes_a_trial_to_its_end(sweep: Sweep) -> None:
    assert sweep(trials=2, asha="promote").count_states() == {"COMPLETE": 1, "PRUNED": 1}


@pytest.mark.parametrize(("idle", "taken"), [("wait", False), ("promote", True)])
def test_a_worker_without_work_waits_or_takes_a_trial_where_nobody_is_to_come_any_more(
    tmp_path: Path, idle: str, taken: bool
) -> None:
    """Of four, with eta 3, one goes on, or two: at once, or when the first has ended."""
    config, space = make_config(tmp_path, trials=4, baseline=False, asha="promote", idle=idle)
    search, _ = open_search(config, space)
    search.room = 4
    leases = [search.lease() for _ in range(4)]
    for lease in leases:
        assert lease is not None and not search.report(next(carry_out(lease)))
    first = search.lease()
    assert first is not None and (search.lease() is not None) == taken


@pytest.mark.parametrize(("trials", "there"), [(5, [5, 3, 2]), (9, [9, 5, 3])])
def test_nobody_is_given_up_while_another_is_before_a_rung(
    tmp_path: Path, trials: int, there: list[int]
) -> None:
    """Of five at a rung three go on, the third once the fifth has come."""
    race = {"asha": "promote", "idle": "promote", "eta": 2, "rungs_turns": (400, 800)}
    config, space = make_config(tmp_path, trials=trials, baseline=False, race=race)
    search, _ = open_search(config, space)
    search.room = 4
    run_inline(search)
    proposed = read_sweep(config.folder).proposed
    assert there == [sum(t.eval_at(n) is not None for t in proposed) for n in (400, 800, 1600)]


def test_without_asha_every_trial_reaches_the_end(sweep: Sweep) -> None:
    records = sweep(trials=5, asha="off")
    assert records.count_states() == {"COMPLETE": 5}
    assert all(len(t.evals) == 3 for t in records.searched)


def test_failures_are_recorded_and_do_not_end_the_sweep(sweep: Sweep) -> None:
    diverging = sweep(trials=3, name="nan", fixed={"learning_rate": 0.9})
    assert diverging.count_states() == {"FAIL": 3}
    assert all("nan" in (t.reason or "") for t in diverging.searched)
    heavy = sweep(trials=2, name="oom", fixed={"lora_rank": 1024})
    assert all("out of memory" in (t.reason or "") for t in heavy.searched)


def test_a_finite_space_is_exhausted_and_says_so(sweep: Sweep) -> None:
    records = sweep(trials=9, fixed={"learning_rate": 1e-3})
    assert len(records.searched) == 5
    assert any("no point left" in note for note in records.notes)


def test_a_shorter_trial_takes_no_place_in_the_rung_at_its_end(tmp_path: Path) -> None:
    config, _ = make_config(tmp_path, space="lr_steps", trials=2, baseline=False)
    space = find_space("lr_steps").fix({"base_model": "toy"}).fit_lengths(config.train_turns)
    short, long = {"schedule": "cosine", "train_turns": 400}, {"schedule": "constant"}
    first = ({**short, "learning_rate": 3e-3}, {**long, "learning_rate": 1e-5})
    search = run_inline(open_search(config, replace(space, first=first))[0])
    assert [t.state for t in search.searched] == ["COMPLETE", "COMPLETE"]
    assert set(search.rungs.values[400]) == {"0001"}  # type: ignore[attr-defined]


def test_details_and_checkpoints_are_kept_as_the_contract_says(sweep: Sweep) -> None:
    records = sweep(trials=8)
    for trial in records.trials:
        detail = json.loads((records.folder / f"trials/{trial.id}/dialogues.json").read_text())
        assert detail["turns_seen"] == trial.last.turns_seen
        left = list((records.folder / "checkpoints" / trial.id).glob("*"))
        assert bool(left) == (trial.state == "COMPLETE")


@pytest.mark.parametrize(("batch", "seen"), [(25, (400, 800, 1600)), (30, (420, 810, 1620))])
def test_a_report_counts_at_the_rung_that_it_has_reached(
    tmp_path: Path, batch: int, seen: tuple[int, ...]
) -> None:
    """Steps may end some turns behind a rung, never before it."""
    config, space = make_config(
        tmp_path, trials=2, baseline=False, asha="promote", fixed={"batch_turns": batch}
    )
    search = run_inline(open_search(config, space)[0])
    values = search.rungs.values  # type: ignore[attr-defined]
    assert [set(values[turns]) for turns in (400, 800)] == [{"0000", "0001"}, {best(search)}]
    first = read_sweep(config.folder).searched[int(best(search))]
    assert tuple(e.turns_seen for e in first.evals) == seen
    for turns, evaluation in zip((400, 800), first.evals, strict=False):
        assert values[turns][first.id] == evaluation.combined
    trial = search.trials[first.id]
    places = {0: 0, 399: 0, 400: 400, 799: 400, 800: 800, 1600: 1600, 1700: 1600}
    assert {turns: search.milestone(trial, turns).turns for turns in places} == places


def best(search: Search) -> str:
    at_first = search.rungs.values[400]  # type: ignore[attr-defined]
    return max(at_first, key=at_first.__getitem__)


def test_a_batch_that_is_longer_than_the_way_between_two_rungs_is_judged_at_the_last_it_reaches(
    sweep: Callable[..., SweepRecords],
) -> None:
    records = sweep(trials=2, train_turns=16, rungs_turns=(2, 5), rung_metric="loss", asha="off")
    assert records.count_states()["COMPLETE"] == 2
    evals = [e for t in records.searched for e in t.evals]
    assert len(evals) == 2 and all(e.turns_seen >= 16 and e.combined for e in evals)
