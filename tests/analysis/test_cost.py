"""What the answer cost: worked out from a real sweep's records and from rates."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.cost import Rates, cost, find_answer, main, read_rates
from analysis.machines import count_engines, count_room, share_time, worked_until
from analysis.records import EvalRecord, read_sweep
from trainable.trial import ConfigError

EXAMPLE = Path(__file__).parents[2] / "analysis" / "example" / "sweep"
RATES = Rates(train_turns_per_s=10.0, reply_turns_per_s=5.0, tokens_a_turn=30.0)


def write_rates(path: Path, **changes: object) -> Path:
    rows = [
        {"way": "lab", "work": "train", "turns_per_s": 2.0, "tokens_a_turn": 30.0},
        {"way": "lab", "work": "reply, batch 1", "turns_per_s": 0.1, "tokens_a_turn": 30.0},
        {"way": "lab", "work": "reply, batch 16", "turns_per_s": 1.0, "tokens_a_turn": 30.0},
        {"way": "stock", "work": "train", "turns_per_s": 8.0, "tokens_a_turn": 30.0},
        {"way": "stock", "work": "reply, batch 64", "turns_per_s": 4.0, "tokens_a_turn": 30.0},
    ]
    path.write_text("\n".join(json.dumps({**row, **changes}) for row in rows))
    return path


def test_the_answer_is_the_first_that_comes_near_the_best() -> None:
    sweep = read_sweep(EXAMPLE)
    answer = find_answer(sweep)
    finals = [e for t in sweep.searched for e in t.evals if e.turns_seen >= t.config["train_turns"]]
    assert answer.highest == max(e.combined for e in finals)
    assert answer.evaluation.combined >= answer.highest - 1
    earlier = [e for e in finals if e.time_s < answer.evaluation.time_s]
    assert all(e.combined < answer.highest - 1 for e in earlier)


def test_ours_is_measured_and_the_others_follow_from_their_rates() -> None:
    sweep = read_sweep(EXAMPLE)
    double = Rates(train_turns_per_s=20.0, reply_turns_per_s=10.0, tokens_a_turn=30.0)
    rows, faster = (
        cost(sweep, {"lab": rates, "stock": rates, "engine": rates}) for rates in (RATES, double)
    )
    lab, engine, stock, unpruned, ours = rows
    assert [row.is_measured for row in rows] == [False] * 4 + [True]
    wall_s = find_answer(sweep).evaluation.time_s - sweep.created_s
    assert 0.9 * wall_s < ours.seconds <= wall_s + 1e-6  # it was driven all the time
    assert lab.seconds == engine.seconds == pytest.approx(2 * faster[0].seconds)
    assert stock.seconds == pytest.approx(2 * faster[2].seconds)
    # what was pruned is less work than all trials to the end
    assert stock.seconds < lab.seconds
    assert unpruned.seconds == faster[3].seconds


def test_the_work_is_counted_in_tokens() -> None:
    sweep = read_sweep(EXAMPLE)
    long_turns = Rates(train_turns_per_s=10.0, reply_turns_per_s=5.0, tokens_a_turn=60.0)
    short, long = (cost(sweep, {"lab": rates})[0].seconds for rates in (RATES, long_turns))
    assert long < short < 2 * long


def test_replies_cost_what_their_rate_says() -> None:
    """One evaluation a trial where all are trained to the end; all that were made, where pruned."""
    sweep = read_sweep(EXAMPLE)
    answer = find_answer(sweep)
    endless = replace(RATES, reply_turns_per_s=float("inf"))
    slow, fast = (cost(sweep, dict.fromkeys(("lab", "stock"), r)) for r in (RATES, endless))
    replies_s = [one.seconds - other.seconds for one, other in zip(slow, fast, strict=True)]
    made = [e for t in sweep.searched for e in t.evals if e.time_s <= answer.evaluation.time_s]
    n_trials = answer.trial.number + 1
    assert replies_s == pytest.approx(
        [n_trials * answer.evaluation.n_turns / 5, sum(e.n_turns for e in made) / 5, 0, 0]
    )


def test_training_costs_what_its_rate_says() -> None:
    sweep = read_sweep(EXAMPLE)
    answer = find_answer(sweep)
    lab, *_ = cost(sweep, {"lab": replace(RATES, reply_turns_per_s=float("inf"))})
    whole = [t for t in sweep.searched if t.number <= answer.trial.number]
    tokens_a_turn = [t.evals[-1].tokens_per_s / t.evals[-1].train_turns_per_s for t in whole]
    turns = [t.config["train_turns"] for t in whole]
    tokens = sum(n * each for n, each in zip(turns, tokens_a_turn, strict=True))
    assert lab.seconds == pytest.approx(tokens / (10 * 30))


def test_time_shares_add_up() -> None:
    shares = share_time(read_sweep(EXAMPLE))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["training"] > 0 and shares["validation"] > 0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rates(tmp_path / "rates.jsonl")
    assert read_rates(path)["lab"].reply_turns_per_s == 1.0  # as the lab's trainer replied
    assert main([str(EXAMPLE), "--rates", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "| ours | " in shown and "(worked out)" in shown and "1.0x" in shown


def test_a_sweep_that_trains_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rates(tmp_path / "rates.jsonl")
    assert main([str(EXAMPLE.parent / "decoding"), "--rates", str(path)]) == 2
    assert "trains nothing" in capsys.readouterr().err


def test_a_night_without_a_driver_costs_nothing() -> None:
    sweep, night_s = read_sweep(EXAMPLE), 30_000.0
    middle_s = sweep.trials[len(sweep.trials) // 2].started_s

    def postpone(e: EvalRecord) -> EvalRecord:
        if e.started_s < middle_s:
            return e
        return replace(e, started_s=e.started_s + night_s, time_s=e.time_s + night_s)

    trials = tuple(replace(t, evals=tuple(map(postpone, t.evals))) for t in sweep.trials)
    late = replace(sweep, trials=trials)
    end_s = max(e.time_s for t in trials for e in t.evals)
    assert end_s - sweep.created_s > night_s
    assert worked_until(late, end_s) < worked_until(sweep, end_s) + 60


def test_processes_side_by_side_are_engines_of_their_own() -> None:
    sweep = read_sweep(EXAMPLE)
    assert count_engines(sweep) == count_room(sweep) == 2


def test_a_file_of_something_else_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rates(tmp_path / "rates.jsonl", turns_per_s="fast")
    with pytest.raises(ConfigError, match="--rates must be"):
        read_rates(path)
    assert main([str(EXAMPLE), "--rates", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error: --rates must be a file")
