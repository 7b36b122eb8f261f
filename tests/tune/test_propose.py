"""Points from outside: proposed to a running sweep, brought from earlier ones, drawn by others of
Optuna's samplers; each leaves records from which the sweep is rebuilt as it was."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inline import Killed, carry_out, make_config, open_search, run_inline
from test_request_handler import open_handler
from test_resume import KillAfter
from test_search import summarise

from analysis.records import read_sweep
from qlora_search import ConfigError, open_sweep
from search_spaces.find import find_space
from search_spaces.notation import read_space
from tune.driver import request_handler as handler_module
from tune.driver.request_handler import RequestHandler
from tune.folder.lock import own_folder
from tune.folder.requests import Request, send
from tune.plan.new import plan_sweep
from tune.plan.warm_start import translate
from tune.propose import main
from tune.run import build_parser
from tune.search.config import SAMPLERS
from tune.search.proposals import propose

TRIALS = 10


@pytest.fixture(autouse=True)
def _always_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler_module, "LOOK_S", 0.0)


def foreign(n: int) -> dict[str, Any]:
    """Every other one leaves the rate to the sampler."""
    whole = {"lora_modules": "qv", "learning_rate": 1e-3 * (1 + n)}
    return whole if n % 2 else {"lora_modules": "attention"}


def drive(handler: RequestHandler) -> None:
    """One trial at a time; after trials 2, 5 and 8, when nothing is half done, somebody proposes
    the next."""
    search = handler.search
    while True:
        n = (2, 5, 8, 99)[sum(t.proposal is not None for t in search.proposed)]
        is_idle = not any(t.state == "QUEUED" for t in search.searched)
        if len(search.proposed) >= n and is_idle:
            values = {"trial": None, "set": foreign(n), "why": f"a hunch after {n}"}
            send(search.recorder.folder, "propose", values)
            handler.look()
        lease = search.lease()
        if lease is None:
            break
        for report in carry_out(lease):
            if not search.report(report):
                break
    search.finish()


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("every", [1, 7])
def test_a_third_of_foreign_proposals_and_every_resume_is_exact(
    tmp_path: Path, every: int, seeds: int
) -> None:
    settings = {"trials": TRIALS * seeds, "seeds": seeds}
    drive(open_handler(tmp_path, name="whole", **settings))
    reference = read_sweep(tmp_path / "whole")
    kills = 0
    while True:
        try:
            drive(open_handler(tmp_path, KillAfter(every), name="killed", **settings))
            break
        except Killed:
            kills += 1
            assert kills < 500
    killed = read_sweep(tmp_path / "killed")
    assert kills > 2 and summarise(killed) == summarise(reference)
    whys = [[t.proposal and t.proposal["why"] for t in r.trials] for r in (killed, reference)]
    assert whys[0] == whys[1]
    told = [t for t in reference.searched if t.proposal]
    assert len(reference.searched) == TRIALS * seeds and len(told) == 3
    assert told[0].proposal["why"] == "a hunch after 2" and told[1].params == foreign(5)


def test_what_cannot_be_tried_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config, space = make_config(tmp_path, trials=3)
    run_inline(open_search(config, space)[0])
    name = ["s", "--storage", str(tmp_path)]
    for given, message in (
        ((), "needs a point"),
        (("--set", "lora_rank=3"), "lora_rank is not searched by this sweep"),
        (("--set", "learning_rat=3"), "did you mean learning_rate?"),
        (("--set", "learning_rate=3"), "lies outside what is searched"),
    ):
        assert main([*name, *given]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert main([*name, "--set", "learning_rate=0.003", "--why", "once more", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] is False
    handler = open_handler(tmp_path, trials=3)  # the next driver takes it up, on top
    made = handler.search.searched[-1]
    assert made.params["learning_rate"] == 0.003 and made.proposal["why"] == "once more"
    again = {"trial": None, "set": dict(made.params), "why": ""}
    with pytest.raises(ConfigError, match="has exactly this point"):
        handler._take(Request(id="9-9", verb="propose", values=again))


def test_ask_is_what_the_sampler_would_try_and_tell_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, space = make_config(tmp_path, trials=4)
    search, _ = open_search(config, space)
    for report in carry_out(search.lease()):  # the base
        search.report(report)
    sweep = open_sweep("s", tmp_path)
    first = sweep.ask()
    assert first.params == search.suggest() and set(first.space.searched) == set(space.searched)
    assert sweep.tell({"learning_rate": 0.004}, why="halfway") is None  # nobody drives it
    handler = open_handler(tmp_path, trials=4)
    made = handler.search.searched[0]
    assert made.params["learning_rate"] == 0.004

    def answer_as_the_driver_does(*_: Any) -> None:
        handler.look()

    with own_folder(config.folder):
        monkeypatch.setattr("tune.folder.requests.time.sleep", answer_as_the_driver_does)
        assert sweep.tell({"learning_rate": 0.005, "lora_modules": "qv"}) == "0001"
        with pytest.raises(ConfigError, match="has exactly this point"):
            sweep.tell({"learning_rate": 0.005, "lora_modules": "qv"})


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_goes_on_where_it_was(tmp_path: Path, sampler: str) -> None:
    settings = {"trials": 12, "sampler": sampler, "asha": "off"}
    config, space = make_config(tmp_path, name="whole", **settings)
    run_inline(open_search(config, space)[0])
    config, space = make_config(tmp_path, name="killed", **settings)
    with pytest.raises(Killed):
        run_inline(open_search(config, space, (KillAfter(45),))[0])
    run_inline(open_search(config, space)[0])
    killed, whole = (summarise(read_sweep(tmp_path / name)) for name in ("killed", "whole"))
    assert killed == whole


def test_a_grid_ends_after_its_last_point_and_repeats_none() -> None:
    space = read_space({"lora_rank": [8, 16], "learning_rate": {"low": 0.1, "high": 1.0}})
    points = list(draw_all(space, "grid"))
    assert len(points) == 10 == len({json.dumps(p) for p in points})
    assert {p["learning_rate"] for p in points} == {0.1, 0.325, 0.55, 0.775, 1.0}
    assert points[:4] != sorted(points[:4], key=lambda p: (p["lora_rank"], p["learning_rate"]))


def draw_all(space: Any, sampler: str) -> Iterator[dict[str, Any]]:
    from tune.search.proposals import Tried

    history: list[Tried] = []
    while (point := propose(space, history, 0, len(history), sampler=sampler)) is not None:
        history.append(Tried(params=point, state="COMPLETE", steps={1: 0.0}))
        yield point


def test_a_warm_start_tries_the_best_of_earlier_sweeps_first(tmp_path: Path) -> None:
    config, space = make_config(tmp_path, name="earlier", trials=12)
    run_inline(open_search(config, space)[0])
    best = open_sweep("earlier", tmp_path).best
    flags = ("--space", "lora_modules", "--profile", "tiny", "--warm-start", "earlier")
    plan = plan_sweep(build_parser().parse_args([*flags, "--storage", str(tmp_path)]))
    assert plan.space.first[0] == best.params and plan.space.first[3:] == tuple(
        point for point in space.first if point not in plan.space.first[:3]
    )
    other = translate(find_space("qlora"), best.config)
    assert other and all(best.config[name] == value for name, value in other.items())
    with pytest.raises(ConfigError, match=r"called 'earlie' \(did you mean earlier\?\)"):
        plan_sweep(build_parser().parse_args([*flags[:-1], "earlie", "--storage", str(tmp_path)]))
