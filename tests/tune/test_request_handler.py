"""A running sweep hears what is asked of it; what it did is rebuilt from its records."""

from pathlib import Path
from typing import Any

import pytest
from inline import Killed, carry_out, make_config, open_search
from test_resume import KillAfter
from test_search import summarise

from analysis.records import SweepRecords, TrialRecord, read_sweep
from tune.driver import request_handler as handler_module
from tune.driver.request_handler import Paused, RequestHandler
from tune.folder.recorder import replay_events
from tune.folder.requests import read_requests, send
from tune.search.budget import Budget
from tune.search.search import Search


@pytest.fixture(autouse=True)
def _always_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler_module, "LOOK_S", 0.0)


def open_handler(storage: Path, *listeners: Any, **settings: Any) -> RequestHandler:
    """A sweep, new or resumed, that nobody runs yet."""
    config, space = make_config(storage, **settings)
    search, records = open_search(config, space, listeners)
    budget = Budget(search)
    budget.replay(replay_events(records) if records else ())
    handler = RequestHandler(search, budget)
    handler.open()
    search.recorder.listeners.append(budget)
    return handler


def run(
    handler: RequestHandler, asked: dict[int, tuple[str, dict[str, Any]]] | None = None
) -> Search:
    """One trial at a time; before the n-th report something may be asked."""
    search, n = handler.search, 0
    while (lease := search.lease()) is not None:
        for report in carry_out(lease):
            for verb, values in [asked[n]] if asked and n in asked else []:
                send(search.recorder.folder, verb, values)
            n += 1
            stopped = handler.look()
            if lease.trial in stopped or not search.report(report):
                break
    if search.closing is None:
        search.finish()
    return search


def clone_of(trial: str, warm: bool = False, **settings: Any) -> tuple[str, dict[str, Any]]:
    return "clone", {"trial": trial, "set": settings, "warm": warm}


def find(records: SweepRecords, trial: str) -> TrialRecord:
    return next(t for t in records.trials if t.id == trial)


def test_a_stopped_trial_is_pruned_and_the_others_go_on(tmp_path: Path) -> None:
    handler = open_handler(tmp_path, trials=4, asha="off")
    run(handler, {2: ("stop", {"trial": "0000", "now": False})})
    records = read_sweep(handler.search.config.folder)
    assert records.count_states() == {"COMPLETE": 3, "PRUNED": 1}
    stopped = find(records, "0000")
    assert stopped.state == "PRUNED" and stopped.reason == "stopped by request at 400 turns"
    assert not read_requests(records.folder) and not (records.folder / "checkpoints/0000").exists()
    answers = list((records.folder / "requests").glob("*.answer.json"))
    assert len(answers) == 1 and "trial 0000 is stopped" in answers[0].read_text()


def test_a_stopped_sweep_is_resumed_to_the_undisturbed_one(tmp_path: Path) -> None:
    whole = run(open_handler(tmp_path, name="whole", trials=5))
    handler = open_handler(tmp_path, trials=5)
    run(handler, {4: ("stop", {"trial": None, "now": False})})
    closing = handler.search.closing
    assert closing is not None and closing.why == "stopped by request" and closing.code == 0
    run(open_handler(tmp_path, trials=5))
    assert summarise(read_sweep(tmp_path / "s")) == summarise(read_sweep(whole.config.folder))
    handler = open_handler(tmp_path, name="now", trials=5)
    with pytest.raises(Paused):
        run(handler, {4: ("stop", {"trial": None, "now": True})})


def test_a_clone_in_the_space_is_known_to_the_study(tmp_path: Path) -> None:
    handler = open_handler(tmp_path, trials=6)
    run(handler, {2: clone_of("0000", learning_rate=5e-3)})
    records = read_sweep(handler.search.config.folder)
    clone = next(t for t in records.trials if t.origin)
    assert clone.origin["in_study"] and clone.params["learning_rate"] == 5e-3
    assert len(records.proposed) == 6 and len(records.searched) == 7
    assert clone.evals and clone.state in ("COMPLETE", "PRUNED")
    assert len({t.id for t in records.trials}) == 8


def test_a_clone_outside_the_space_is_raced_but_not_studied(tmp_path: Path) -> None:
    handler = open_handler(tmp_path, trials=6)
    run(handler, {2: clone_of("0000", lora_rank=32, schedule="wsd", decay_fraction=0.2)})
    records = read_sweep(handler.search.config.folder)
    clone = next(t for t in records.trials if t.origin)
    assert not clone.origin["in_study"] and clone not in records.studied
    assert clone.params["lora_rank"] == 32 and clone.config["decay_fraction"] == 0.2
    assert clone.id in handler.search.rungs.values[400]
    assert not records.warnings


def test_a_warm_clone_starts_from_the_other_s_adapter(tmp_path: Path) -> None:
    handler = open_handler(tmp_path, trials=2, asha="off")
    run(handler, {2: clone_of("0000", warm=True, lora_rank=32)})
    records = read_sweep(handler.search.config.folder)
    clone = next(t for t in records.trials if t.origin)
    cold = find(records, "0000")
    assert clone.evals[0].combined > cold.evals[0].combined + 5  # it has 400 turns behind it
    assert clone.config["adapter"] == f"clones/{clone.id}"  # the folder may move
    assert clone.params["adapter"] == "of 0000" and not clone.origin["in_study"]


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (clone_of("0000"), "a clone must differ from its original"),
        (clone_of("0000", learning_rate=1e-2), "trial 0000 has just these settings"),
        (clone_of("0000", lora_rnk=3), "no field is called"),
        (clone_of("0000", train_turns=10**6), "no trial may train longer"),
        (clone_of("0000", warm=True, lora_modules="qv"), "--warm cannot change lora_modules"),
        (clone_of("0000", num_beams=4), "has no meaning with decoding=greedy"),
        (clone_of("base", learning_rate=1e-3), "no trial base to clone"),
        (clone_of("0007", learning_rate=1e-3), "no trial 0007"),
        (("stop", {"trial": "base", "now": False}), "has ended already: COMPLETE"),
        (("stop", {"trial": "0007", "now": False}), "has no trial 0007"),
    ],
)
def test_what_cannot_be_is_answered_and_changes_nothing(
    tmp_path: Path, asked: tuple[str, dict[str, Any]], answer: str
) -> None:
    handler = open_handler(tmp_path, trials=2)
    run(handler, {2: asked})
    records = read_sweep(handler.search.config.folder)
    assert len(records.searched) == 2
    (path,) = (records.folder / "requests").glob("*.answer.json")
    assert answer in path.read_text() and '"done": false' in path.read_text()


@pytest.mark.parametrize("every", [1, 3, 7])
@pytest.mark.slow
def test_killed_again_and_again_clones_are_made_once(tmp_path: Path, every: int) -> None:
    """Asked for while nobody runs it: the next driver makes them, however often it is killed."""
    asked = [clone_of("0000", learning_rate=5e-3), clone_of("0000", lora_rank=32)]

    def finish(name: str, listeners: Any) -> list[tuple]:
        settings = {"name": name, "trials": 6}
        run(open_handler(tmp_path, **{**settings, "trials": 1}))
        for verb, values in asked:
            send(tmp_path / name, verb, values)
        while True:
            try:
                run(open_handler(tmp_path, *listeners(), **settings))
                return summarise(read_sweep(tmp_path / name))
            except Killed:
                continue

    whole = finish("whole", tuple)
    assert finish("killed", lambda: (KillAfter(every),)) == whole
    assert len(whole) == 9


def test_the_failure_limit_closes_the_sweep(tmp_path: Path) -> None:
    out_of_memory = {"lora_rank": 1024}
    search = run(open_handler(tmp_path, trials=30, max_failed_trials=3, fixed=out_of_memory))
    assert search.closing is not None and search.closing.code == 1
    assert search.closing.why == "4 trials failed, and no more than 3 may"
    assert len(search.searched) == 4


def test_without_a_new_best_the_sweep_ends(tmp_path: Path) -> None:
    handler = open_handler(tmp_path, trials=60, stop_if_no_improvement=8)
    run(handler)
    closing, records = handler.search.closing, read_sweep(handler.search.config.folder)
    assert closing is not None and closing.why.startswith("8 points have ended or paused since")
    ends = [t.id for t in sorted(records.searched, key=lambda t: t.ended_s or 0)]
    scored = [t for t in records.searched if t.evals]
    leader = max(scored, key=lambda t: (t.evals[-1].turns_seen, t.evals[-1].combined))
    assert ends.index(leader.id) == len(ends) - 9 and len(ends) < 60
    again = open_handler(tmp_path, trials=60, stop_if_no_improvement=8)
    assert again.search.closing == closing
    more = open_handler(tmp_path, trials=60, stop_if_no_improvement=0)
    assert more.search.closing is None


def test_pauses_count_where_nothing_ends_before_the_sweep_does(tmp_path: Path) -> None:
    handler = open_handler(tmp_path, trials=60, stop_if_no_improvement=8, asha="promote")
    run(handler)
    assert handler.search.closing is not None and len(handler.search.searched) < 60


@pytest.mark.parametrize("asha", ["stop", "promote"])
def test_points_without_a_new_best_count_once_however_many_their_seeds(
    tmp_path: Path, asha: str
) -> None:
    settings = {"trials": 90, "seeds": 3, "stop_if_no_improvement": 6, "asha": asha}
    handler = open_handler(tmp_path, **settings)
    run(handler)
    budget, closing = handler.budget, handler.search.closing
    assert closing is not None and closing.why.startswith("6 points have ended or paused since")
    points = handler.search.race.proposed
    later = [p for p in points if p.seeds[0].number > handler.search.trials[budget.leader].number]
    assert len(later) >= 6 and len(points) < 30
    again = open_handler(tmp_path, **settings)
    assert again.search.closing == closing and again.budget.best == budget.best


def test_hours_are_spent_across_drivers(tmp_path: Path) -> None:
    handler = open_handler(tmp_path, trials=3)
    run(handler)
    spent = handler.budget.hours
    assert 0 < spent < 0.1
    again = open_handler(tmp_path, trials=30, max_hours=spent / 2)
    assert again.search.closing is not None
    assert again.search.closing.remedy == "--max-hours N"
    gpu = open_handler(tmp_path, trials=30, max_gpu_hours=1e-9)
    assert gpu.search.closing is not None and "GPU-hours are spent" in gpu.search.closing.why
    assert open_handler(tmp_path, trials=30).search.closing is None
