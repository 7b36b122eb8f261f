"""--confirm K: the best points once more, with fresh seeds, to the end and on all dialogues."""

import contextlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from inline import RACE as STOP
from inline import Killed, Settings, make_config, open_search, run_inline
from test_resume import KillAfter, finish, outlive
from test_search import summarise

from analysis.choice import choose_best, rank_points
from analysis.records import SweepRecords, read_sweep
from search_spaces.find import find_space
from search_spaces.lora_modules import SELECTIONS
from trainable.solo.toy import DIALOGUES
from trainable.trial import ConfigError, TrialConfig
from tune.driver.conclusion import has_work
from tune.plan.checks import check_space
from tune.plan.defaults import check_calibration, choose_confirmed, choose_rung_metric
from tune.search.confirm import count_fresh_seeds, find_race, list_confirmable, spread
from tune.search.trials import name_trial

HALVING: Settings = {"asha": "promote", "idle": "promote", "eta": 2.25, "rungs_turns": (400, 800)}


def list_fresh(records: SweepRecords) -> list[tuple[str, int]]:
    own = [t for t in records.searched if t.is_confirmation]
    return [((t.origin or {})["trial"], t.config["seed"]) for t in own]


@pytest.mark.parametrize(("asha", "seeds"), [("stop", 1), ("promote", 1), ("stop", 2)])
def test_the_best_points_are_repeated_with_fresh_seeds(
    tmp_path: Path, asha: str, seeds: int
) -> None:
    config, space = make_config(tmp_path, trials=12, asha=asha, seeds=seeds, seed=4)
    race = finish(*make_config(tmp_path, name="race", trials=12, asha=asha, seeds=seeds, seed=4))
    finish(replace(config, confirm=2), space)
    records = read_sweep(config.folder)
    assert summarise(records)[: len(race)] == race  # the race itself is the same
    chosen = list_confirmable(read_sweep(tmp_path / "race"))[:2]
    names = [min(t.id for t in p.trials) for p in chosen]
    fresh = [4 + seeds + i for i in range(count_fresh_seeds(2)[0])]
    assert list_fresh(records) == [(name, seed) for name in names for seed in fresh]
    own = [t for t in records.searched if t.is_confirmation]
    assert all(t.state == "COMPLETE" and t.replied[-1].n_dialogues == DIALOGUES for t in own)
    assert all(e.combined is None for t in own for e in t.evals[:-1])
    best = choose_best(records)
    assert best is not None and best.is_confirmed and len(best.trials) == len(fresh)
    means = [fmean(t.replied[-1].score for t in own if t.origin["trial"] == n) for n in names]
    assert best.value == pytest.approx(max(means))
    assert not records.is_running and not has_work(open_search(config, space)[0])
    assert [t.id for t in records.proposed] == [t[0] for t in race[1:]]  # no part of the study
    assert {t.id for t in records.studied} == {t.id for t in records.proposed}


@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.slow
def test_killed_again_and_again_the_same_are_confirmed(tmp_path: Path, every: int) -> None:
    settings: dict[str, Any] = {"trials": 9, "confirm": 2}
    reference = finish(*make_config(tmp_path, name="whole", **settings))
    config, space = make_config(tmp_path, name="killed", **settings)
    assert outlive(config, space, every) > 0
    assert summarise(read_sweep(config.folder)) == reference


def test_a_finished_sweep_is_confirmed_by_a_resume(tmp_path: Path) -> None:
    config, space = make_config(tmp_path, trials=6)
    finish(config, space)
    asked = replace(config, confirm=1)
    search, _ = open_search(asked, space)
    assert has_work(search) and read_sweep(config.folder).is_running
    finish(asked, space)
    assert len(list_fresh(read_sweep(config.folder))) == sum(count_fresh_seeds(1))
    assert not read_sweep(config.folder).is_running
    assert not has_work(open_search(asked, space)[0])


@pytest.mark.parametrize("race", [STOP, HALVING])
@pytest.mark.parametrize("every", [None, 9])
def test_what_is_settled_is_confirmed_while_the_race_goes_on(
    tmp_path: Path, every: int | None, race: Settings
) -> None:
    """By a worker that the race has no work for; and killed again and again."""
    config, space = make_config(tmp_path, trials=10, confirm=5, race=race)
    is_over = False
    while not is_over:
        listeners = (KillAfter(every),) if every else ()
        with contextlib.suppress(Killed):
            search, _ = open_search(config, space, listeners)
            search.room = 2
            run_inline(search)
            is_over = True
    records = read_sweep(config.folder)
    chosen = list_confirmable(find_race(records))
    n_seeds = Counter(name for name, _ in list_fresh(records))
    expected = dict(zip((p.trial.id for p in chosen), count_fresh_seeds(5), strict=True))
    assert n_seeds == expected and not records.is_running
    if every is None:
        order = list(records.order)
        waited = {t.id for t in records.proposed if "not promoted" in (t.reason or "")}
        raced = [t.id for t in records.proposed if t.id not in waited]
        ended = max(order.index(("end", name, 0)) for name in raced)
        assert order.index(("trial", name_trial(len(records.proposed)), 0)) < ended


def test_a_choice_that_was_stopped_early_is_confirmed_before_a_second_point_of_another(
    tmp_path: Path,
) -> None:
    config, space = make_config(tmp_path, trials=10, confirm=5)
    finish(config, space)
    records = read_sweep(config.folder)
    first = {t.id: t for t in records.proposed}
    n_seeds = Counter(name for name, _ in list_fresh(records))
    assert tuple(n_seeds.values()) == count_fresh_seeds(5)
    confirmed = [first[name] for name in n_seeds]
    assert {t.params["lora_modules"] for t in confirmed} == set(SELECTIONS)
    assert {t.state for t in confirmed} == {"COMPLETE", "PRUNED"}
    own = [t for t in records.searched if t.is_confirmation]
    assert all(t.state == "COMPLETE" for t in own)


def test_by_default_where_it_is_cheap(tmp_path: Path) -> None:
    small, space = make_config(tmp_path, trials=6)
    large = replace(small, trials=40, asha="off", profile="lab")
    whole = replace(small, trials=10)
    chosen = [choose_confirmed(None, config, space) for config in (small, large, whole)]
    assert chosen == [0, 3, 5]  # the embedded model's own sweep: one of every choice
    assert choose_confirmed(None, whole, find_space("lora_rank")) == 3
    assert choose_confirmed(2, small, space) == 2 and choose_confirmed(0, large, space) == 0


def test_which_metric_a_rung_takes(tmp_path: Path) -> None:
    config, space = make_config(tmp_path)
    corners = check_space(space, config.base)
    assert choose_rung_metric("auto", corners, "stop") == "loss"
    assert choose_rung_metric("auto", corners, "off") == "combined"
    idle = [TrialConfig(method="none", double_quantisation=True)]
    assert choose_rung_metric("auto", idle, "promote") == "combined"
    texts = [replace(corners[0], response=kind) for kind in ("delexicalised", "lexicalised")]
    assert choose_rung_metric("auto", texts, "stop") == "combined"
    with pytest.raises(ConfigError, match="response change the text"):
        choose_rung_metric("loss", texts, "stop")
    with pytest.raises(ConfigError, match="auto, loss, combined, objective, not 'bleu'"):
        choose_rung_metric("bleu", corners, "stop")


def test_one_bias_has_a_meaning_beside_an_unbiased_headline_only(tmp_path: Path) -> None:
    config, space = make_config(tmp_path)
    corners = check_space(space, config.base)
    check_calibration(1.0, corners)
    with pytest.raises(ConfigError, match="biases of its own"):
        check_calibration(1.0, [replace(corners[0], placeholder_bias=0.5)])
    with pytest.raises(ConfigError, match="lexicalised replies have none"):
        check_calibration(1.0, [replace(corners[0], response="lexicalised")])


@pytest.mark.parametrize("asha", ["stop", "promote"])
def test_rungs_decide_by_the_loss_and_the_end_by_combined(tmp_path: Path, asha: str) -> None:
    config, space = make_config(tmp_path, trials=12, asha=asha, rung_metric="loss")
    finish(config, space)
    records = read_sweep(config.folder)
    assert not records.warnings
    for trial in records.searched:
        assert [e.combined is None for e in trial.evals] == [
            e.turns_seen < 1600 for e in trial.evals
        ]
        assert {e.n_dialogues for e in trial.evals if e.combined is None} == {50}
    first = [d for d in records.decisions if d.turns == 400]
    assert len(first) == 12 and {d.metric for d in first} == {"loss"}
    losses = {d.trials[0]: d.value for d in first}
    for trial in records.searched:
        assert losses[trial.id] == pytest.approx(trial.evals[0].nats_per_word)
    stopped = {t.id for t in records.searched if len(t.evals) == 1}
    assert min(losses[i] for i in stopped) > min(losses.values())  # the lowest loss goes on
    best = choose_best(records)
    assert best is not None and best.value is not None and best.milestone_turns == 1600


def test_calibration_stands_beside_the_headline(tmp_path: Path) -> None:
    config, space = make_config(tmp_path, trials=2, asha="off", calibrate=1.0)
    finish(config, space)
    for trial in read_sweep(config.folder).trials:
        *earlier, last = trial.evals
        assert last.calibrated is not None and last.calibrated["bias"] == 1.0
        assert all(e.calibrated is None for e in earlier)


def test_a_clone_of_the_best_is_one_of_the_leaderboard_s_first(tmp_path: Path) -> None:
    from tune.clone import find_best

    config, space = make_config(tmp_path, trials=6, confirm=1)
    config.folder.mkdir(parents=True)
    search, _ = open_search(config, space)
    with pytest.raises(ConfigError, match="no best trial yet"):
        find_best(config.folder)
    run_inline(search)
    best = choose_best(read_sweep(config.folder))
    assert best is not None and find_best(config.folder) == best.trial.id


def test_seeds_are_spent_on_the_choices_that_the_space_asks_about() -> None:
    """The highest of every choice, before a second one of any."""
    records = read_sweep(Path(__file__).parents[2] / "analysis" / "example" / "sweep")
    points = [p for p in rank_points(records) if not p.trial.is_base]
    before = [p.trial.params["lora_modules"] for p in points[:3]]
    after = [p.trial.params["lora_modules"] for p in spread(points, records)[:3]]
    assert before == ["ffn", "ffn", "all-linear"]
    assert after == ["ffn", "all-linear", r"regexp:.*\.(o_proj|down_proj)"]
    assert spread(points, replace(records, space={})) == points
