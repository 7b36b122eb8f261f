"""The simulator: its clock by hand arithmetic, its decisions against a real sweep's."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from inline import make_config, open_search, run_inline

from analysis.curve_pool import read_pool
from analysis.records import read_sweep
from trainable.trial import TrialConfig
from tune.run import main as run_sweep
from tune.search.milestones import list_milestones
from tune.search.search import Search
from tune.simulate.clock import Clock
from tune.simulate.command import main
from tune.simulate.curves import Formula
from tune.simulate.outcome import METHODS, Unrecorded, pick, run, simulate, start, summarise
from tune.simulate.recorded import Stretch, open_pool, open_sweep
from tune.simulate.surrogate import Surrogate


class Paced(Formula):
    """The toy's scores at paces that are easy to add up: trial i takes i + 1 seconds a turn."""

    def __init__(self, trials: int) -> None:
        super().__init__()
        self.config = replace(
            self.config, trials=trials, train_turns=100, rungs_turns=(50,), eval_dialogues=(5, 5)
        )
        self.config = replace(self.config, base={**self.config.base, "train_turns": 100})
        self.order: list[TrialConfig] = []

    def advance(self, config: TrialConfig, seen: int, milestone: tuple[int, int]) -> Stretch:
        stretch = super().advance(config, seen, milestone)
        if config not in self.order:
            self.order.append(config)
        pace_s = self.order.index(config) + 1
        return replace(stretch, seconds=float(stretch.turns * pace_s))


def measure(clock: Clock) -> tuple[float, float, float, int]:
    return (
        pytest.approx(clock.now_s),
        pytest.approx(clock.gpu_s),
        pytest.approx(clock.slot_s),
        clock.turns,
    )


def test_lone_trials_take_their_own_time() -> None:
    """Trials of 100 and 200 s side by side; the third, of 300 s, follows the first."""
    assert measure(run(Paced(3), "random", 2, 1, 0)) == (400, 600, 600, 300)


def test_packed_trials_advance_in_lockstep_at_their_mean_pace() -> None:
    """Two trials of 1 and 2 s a turn: 100 turns of both in 150 s, then the third alone."""
    assert measure(run(Paced(3), "random", 1, 2, 0)) == (450, 450, 600, 300)


def test_a_slot_alone_saves_what_its_engine_does_not_spend_whole() -> None:
    """The third trial, alone in one of two slots: 300 s, of which 0.5 + 0.5 / 2 remain."""
    curves = Paced(3)
    curves.fixed_share = 0.5
    assert measure(run(curves, "random", 1, 2, 0)) == (375, 375, 525, 300)


def test_time_adds_up_whatever_the_rungs_decide() -> None:
    clock = run(Paced(8), "stop", 2, 3, 0)
    assert clock.gpu_s <= 2 * clock.now_s and clock.slot_s <= 3 * clock.gpu_s
    assert clock.turns == sum(t.turns_seen for t in clock.search.searched)


@pytest.mark.parametrize("method", ["tpe", "tpe-stop", "tpe-promote", "promote"])
def test_the_same_seed_gives_the_same_outcome(method: str) -> None:
    curves = Formula()
    curves.config = replace(curves.config, trials=12)
    assert simulate(curves, method, 2, 4, 3) == simulate(curves, method, 2, 4, 3)


def tell(trials: Any) -> list[tuple]:
    return [(t.id, t.state, t.reason, t.config.to_dict(), list(t.scores.values())) for t in trials]


def judge_again(evaluation: Any) -> float:
    by_loss = evaluation.combined is None
    return -evaluation.nats_per_word if by_loss else evaluation.combined


def tell_recorded(folder: Path) -> list[tuple]:
    return [
        (t.id, t.state, t.reason, dict(t.config), [judge_again(e) for e in t.evals])
        for t in read_sweep(folder).searched
    ]


@pytest.mark.parametrize("asha", ["off", "stop", "promote"])
def test_one_slot_decides_as_a_sweep_without_ray(tmp_path: Path, asha: str) -> None:
    curves = Formula()
    curves.config = replace(curves.config, trials=14, idle="wait")
    own = {n: getattr(curves.config, n) for n in ("trials", "eta", "idle", "rungs_turns")}
    config, _ = make_config(tmp_path, asha=asha, baseline=False, **own)
    run_inline(open_search(config, curves.space)[0])
    clock = run(curves, {"off": "tpe"}.get(asha, f"tpe-{asha}"), 1, 1, 0)
    assert tell(clock.search.searched) == tell_recorded(config.folder)


@pytest.mark.parametrize("method", ["random", "stop", "promote", "promote-idle"])
def test_what_is_known_beforehand_is_decided_as_the_search_does(
    method: str, tmp_path: Path
) -> None:
    curves = Formula()
    curves.config = replace(curves.config, trials=14, rung_metric="loss")
    short = run(curves, method, 1, 5, 2)
    own = METHODS[method]
    config = replace(curves.config, asha=own.asha, idle=own.idle, seed=2)
    space = replace(curves.space, first=curves.draw(2, 14))
    whole = start(Search(config, space, Unrecorded(tmp_path)), curves, 1, 5)
    known, decided = ([t[:2] + t[3:] for t in tell(c.search.searched)] for c in (short, whole))
    assert known == decided and short.now_s == whole.now_s


@pytest.mark.usefixtures("local_ray")
@pytest.mark.slow
def test_one_slot_decides_as_a_real_sweep_one_at_a_time(tmp_path: Path) -> None:
    flags = "--space lora_modules --profile tiny --set base_model=toy --no-baseline --name s"
    flags += " --trials 8 --concurrent 1 --asha promote --storage"
    assert run_sweep([*flags.split(), str(tmp_path)]) == 0
    curves = Formula()
    curves.config = replace(curves.config, trials=8, rung_metric="loss")
    clock = run(curves, "tpe-promote-idle", 1, 1, 0)
    assert tell(clock.search.searched) == tell_recorded(tmp_path / "s")


def test_recorded_curves_are_replayed_as_they_were(tmp_path: Path) -> None:
    config, space = make_config(tmp_path, asha="off", trials=12, baseline=False)
    run_inline(open_search(config, space)[0])
    records = read_sweep(config.folder)
    curves = open_sweep(records)
    clock = run(curves, "random", 1, 1, 5)
    ends = {json.dumps(dict(t.params)): t.last for t in records.searched}
    for trial in clock.search.searched:
        assert list(trial.scores.values())[-1] == ends[json.dumps(dict(trial.params))].combined
    took_s = sum(t.last.train_s + sum(e.eval_s for e in t.evals) for t in records.searched)
    assert clock.now_s == pytest.approx(took_s)
    picked = curves.true_combined(pick(clock.search))
    assert picked == curves.best == max(e.combined for e in ends.values())


@pytest.mark.slow
def test_promotion_spends_less_than_stopping_and_both_less_than_no_asha() -> None:
    curves = Formula()
    curves.config = replace(curves.config, trials=27)
    stop, promote, random = (
        summarise([simulate(curves, method, 1, 8, seed) for seed in range(20)])
        for method in ("stop", "promote", "random")
    )
    assert random["training"] == (27, 27, 27) and random["regret"] == random["random_regret"]
    assert promote["training"][0] < stop["training"][0] < 15


def test_the_command_prints_and_writes_one_row_a_method_and_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    flags = "--trials 6 --slots 1,8 --pack 1,4 --seeds 2 --methods random,promote --out"
    assert main([*flags.split(), str(tmp_path / "new" / "toy")]) == 0
    table = (tmp_path / "new" / "toy.md").read_text()
    assert capsys.readouterr().out == table and table.count("\n") == 2 + 6
    with (tmp_path / "new" / "toy.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["method"], r["slots"], r["gpus"]) for r in rows[2:4]] == [
        ("random", "8", "8"),
        ("promote", "8", "8"),
    ]
    assert float(rows[0]["training"]) == 6 and float(rows[1]["training"]) < 6


@pytest.mark.parametrize(
    ("flags", "clause"),
    [
        ("--methods hyperband", "--methods takes random, stop"),
        ("--curves nowhere", "no sweep"),
        ("--rungs 800,400", "--rungs must rise"),
        ("--curves BARE", "does not hold a sweep's settings"),
        ("--curves FOLDER --methods tpe", "proposes points of its own"),
        ("--curves FOLDER --trials 1000", "--trials must be at most 2"),
        ("--curves FOLDER --rungs 7", "--rungs must be among"),
    ],
)
def test_bad_input_is_one_clear_line(
    flags: str, clause: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config, space = make_config(tmp_path, asha="off", trials=2, baseline=False)
    run_inline(open_search(config, space)[0])
    bare = Path(shutil.copytree(config.folder, tmp_path / "bare"))
    header = json.loads((bare / "sweep.json").read_text())
    (bare / "sweep.json").write_text(json.dumps({**header, "config": {"trials": 2}}))
    named = flags.replace("FOLDER", str(config.folder)).replace("BARE", str(bare))
    assert main(named.split()) == 2
    err = capsys.readouterr().err
    assert clause in err and err.count("\n") == 1


@pytest.mark.nightly
def test_a_surrogate_gives_back_its_points_and_predicts_those_held_out() -> None:
    pool = read_pool(Path(__file__).parents[2] / "analysis/results/curves/smollm2")
    surrogate, recorded = Surrogate(pool), open_pool(pool, range(64))
    end = list_milestones(recorded.config, recorded.config.train_turns)[-1]
    for config in list(recorded.runs)[::16]:
        told, known = (c.advance(config, -1, end).result for c in (surrogate, recorded))
        assert told.nats_per_word == pytest.approx(known.nats_per_word, rel=0.1)
    held = surrogate.cross_validate()
    assert all(h.error < h.spread / 5 for name, h in held.items() if name != "Combined")
    assert held["Combined"].error < held["Combined"].spread / 2 + 1
    surrogate.config = replace(surrogate.config, trials=10)
    assert simulate(surrogate, "tpe-stop", 1, 4, 0).training < 10
