"""A sweep killed at any write goes on to what the undisturbed one would have been."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from inline import Killed, make_config, open_search, run_inline
from optuna.distributions import FloatDistribution, IntDistribution
from test_search import summarise

from analysis.records import read_sweep
from analysis.training import read_training
from search_spaces.find import find_space
from trainable.trial import ConfigError
from tune.driver.conclusion import has_work
from tune.plan.resumed import lengthen
from tune.search.rebuild import check_widened


class KillAfter:
    """Dies right after the n-th event is on disk."""

    def __init__(self, n: int) -> None:
        self.left = n

    def on_event(self, event: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


def finish(config: Any, space: Any) -> list[tuple]:
    run_inline(open_search(config, space)[0])
    return summarise(read_sweep(config.folder))


def outlive(config: Any, space: Any, every: int, then: Callable[[], object] = lambda: None) -> int:
    """The sweep to its end, killed after so many events again and again, `then` done each time; the
    kills."""
    for kills in range(500):
        try:
            run_inline(open_search(config, space, (KillAfter(every),))[0])
            return kills
        except Killed:
            then()
    raise AssertionError("it gets nowhere")


@pytest.mark.parametrize("asha", ["stop", "promote", "off"])
@pytest.mark.parametrize("every", [1, 4, 11])
def test_killed_again_and_again_gives_the_undisturbed_sweep(
    tmp_path: Path, asha: str, every: int
) -> None:
    settings = {"asha": asha, "trials": 9}
    reference = finish(*make_config(tmp_path, name="whole", **settings))
    config, space = make_config(tmp_path, name="killed", **settings)

    def tear() -> None:
        with (config.folder / "evals.jsonl").open("a") as file:
            file.write('{"event": "eval", "tri')  # by the same death

    assert outlive(config, space, every, tear) > 2
    assert summarise(read_sweep(config.folder)) == reference
    for trial in read_sweep(config.folder).searched:
        points = [read_training(tmp_path / name, trial.id) for name in ("whole", "killed")]
        assert points[0] == points[1] and len(points[0]) > 2, trial.id


def test_a_finished_sweep_has_no_work_and_more_trials_extend_it(tmp_path: Path) -> None:
    config, space = make_config(tmp_path, trials=6)
    before = finish(config, space)
    events = (config.folder / "evals.jsonl").read_text()
    assert not has_work(open_search(config, space)[0])
    assert (config.folder / "evals.jsonl").read_text() == events
    longer, _ = make_config(tmp_path, trials=10)
    after = finish(longer, space)
    assert after[: len(before)] == before and len(after) == len(before) + 4
    assert after == finish(*make_config(tmp_path, name="ten", trials=10))


FLAT = {"schedule": "constant"}  # what is to be lengthened decays towards no end


@pytest.mark.parametrize("asha", ["stop", "promote", "off"])
def test_a_longer_training_extends_the_survivors(tmp_path: Path, asha: str) -> None:
    config, space = make_config(tmp_path, trials=9, asha=asha, fixed=FLAT)
    before = {t[0]: t for t in finish(config, space)}
    records = read_sweep(config.folder)
    longer = lengthen(config, space, records, 4500)
    after = {t[0]: t for t in finish(longer, space)}
    reached = [i for i, t in after.items() if i != "base" and t[4][-1][0] >= 4500]
    survivors = [i for i, t in before.items() if i != "base" and t[1] == "COMPLETE"]
    assert reached and set(reached) <= set(survivors)
    assert all(after[i][4][: len(t[4])] == t[4] for i, t in before.items())
    assert {t[1] for t in after.values()} <= {"COMPLETE", "PRUNED"}
    assert not has_work(open_search(longer, space)[0])


def test_a_trial_under_way_is_lengthened_too(tmp_path: Path) -> None:
    config, space = make_config(tmp_path, trials=3, asha="off", baseline=False, fixed=FLAT)
    with pytest.raises(Killed):
        run_inline(open_search(config, space, (KillAfter(10),))[0])
    records = read_sweep(config.folder)
    assert {t.state for t in records.trials} == {"COMPLETE", "RUNNING"}
    finish(lengthen(config, space, records, 4500), space)
    trials = read_sweep(config.folder).trials
    assert [t.last.turns_seen >= 4500 for t in trials if t.last] == [True] * 3


def test_a_space_without_a_point_left_is_finished_and_stays_so(tmp_path: Path) -> None:
    config, _ = make_config(tmp_path, space="instruction", trials=12, baseline=False)
    space = find_space("instruction").fix({"base_model": "toy"})
    assert len(finish(config, space)) == 9  # three of them without an instruction
    assert not read_sweep(config.folder).is_running
    search, records = open_search(config, space)
    assert not has_work(search)
    assert [t.params for t in search.searched] == [t.params for t in records.trials]  # type: ignore[union-attr]
    wide = replace(space, searched={**space.searched, "seed": IntDistribution(0, 9)})
    assert has_work(open_search(config, wide)[0])


def test_a_wider_space_may_search_what_trials_left_out(tmp_path: Path) -> None:
    fixed = {"decoding": "sampling", "learning_rate": 1e-2}
    config, space = make_config(tmp_path, trials=9, fixed=fixed, baseline=False)
    finish(config, space)
    wide = replace(space, searched={**space.searched, "top_p": FloatDistribution(0.5, 1.0)})
    longer, _ = make_config(tmp_path, trials=14, fixed=fixed, baseline=False)
    assert len(finish(longer, wide)) == 14


def test_lengthening_refuses_what_has_no_meaning(tmp_path: Path) -> None:
    config, space = make_config(tmp_path, trials=2, fixed=FLAT)
    finish(config, space)
    with pytest.raises(ConfigError, match="may only grow"):
        lengthen(config, space, read_sweep(config.folder), 100)
    config, space = make_config(tmp_path, name="c", trials=2, fixed={"schedule": "cosine"})
    finish(config, space)
    with pytest.raises(ConfigError, match="constant or wsd schedule"):
        lengthen(config, space, read_sweep(config.folder), 9000)


def test_a_space_may_widen_but_not_narrow(tmp_path: Path) -> None:
    fixed = {"learning_rate": 1e-3}
    config, narrow = make_config(tmp_path, trials=4, fixed=fixed)
    finish(config, narrow)
    wide = find_space("lora_modules").fix({"base_model": "toy"})
    check_widened(wide, read_sweep(config.folder))
    longer, _ = make_config(tmp_path, trials=12)
    after = finish(longer, wide)
    assert len(after) == 13 and len({t[3]["learning_rate"] for t in after[1:]}) > 2
    with pytest.raises(ConfigError, match="no longer searches learning_rate"):
        check_widened(narrow, read_sweep(config.folder))


def test_a_torn_checkpoint_falls_back_and_says_so(tmp_path: Path) -> None:
    reference = finish(*make_config(tmp_path, name="whole", trials=3, asha="off"))
    config, space = make_config(tmp_path, name="torn", trials=3, asha="off")
    search, _ = open_search(config, space, (KillAfter(8),))
    with pytest.raises(Killed):
        run_inline(search)
    victim = max((config.folder / "checkpoints/0000").glob("*"), key=lambda p: int(p.name))
    (victim / "toy.json").write_text("{")
    assert finish(config, space) == reference
    assert any(f"0000/{victim.name} is torn" in n for n in read_sweep(config.folder).notes)
