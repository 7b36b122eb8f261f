"""What the answer cost: worked out from a real sweep's records and from rates."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.cost import WAYS, Rates, cost, main, read_rates
from analysis.machines import count_engines, count_room, share_time, worked_until
from analysis.records import EvalRecord, read_sweep
from trainable.trial import ConfigError

EXAMPLE = Path(__file__).parents[2] / "analysis" / "example" / "sweep"
RATES = Rates(train_turns_per_s={1: 10.0}, reply_turns_per_s=5.0, tokens_a_turn=30.0)


def write_rates(path: Path, **changes: object) -> Path:
    rows = [
        {"way": "lab", "work": "train", "turns_per_s": 2.0, "tokens_a_turn": 30.0},
        {"way": "lab", "work": "reply, batch 1", "turns_per_s": 0.1, "tokens_a_turn": 30.0},
        {"way": "lab", "work": "reply, batch 16", "turns_per_s": 1.0, "tokens_a_turn": 30.0},
        {"way": "stock", "work": "train", "turns_per_s": 8.0, "tokens_a_turn": 30.0},
        {"way": "stock", "work": "reply, batch 64", "turns_per_s": 4.0, "tokens_a_turn": 30.0},
        {"way": "careful", "work": "train, 5 dialogues", "turns_per_s": 6.0, "tokens_a_turn": 30.0},
        {
            "way": "careful",
            "work": "train, 16 dialogues",
            "turns_per_s": 9.0,
            "tokens_a_turn": 30.0,
        },
        {"way": "careful", "work": "reply, batch 256", "turns_per_s": 7.0, "tokens_a_turn": 30.0},
        {"way": "careful", "work": "reply, batch 1024", "turns_per_s": 8.0, "tokens_a_turn": 30.0},
    ]
    path.write_text("\n".join(json.dumps({**row, **changes}) for row in rows))
    return path


def test_ours_is_measured_and_the_others_follow_from_their_rates() -> None:
    sweep = read_sweep(EXAMPLE)
    double = replace(RATES, train_turns_per_s={1: 20.0}, reply_turns_per_s=10.0)
    rows, faster = (cost(sweep, dict.fromkeys(WAYS, rates)) for rates in (RATES, double))
    lab, engine, stock, careful, unraced, ours = rows
    assert [row.is_measured for row in rows] == [False] * 5 + [True]
    wall_s = max(e.time_s for t in sweep.trials for e in t.evals) - sweep.created_s
    assert 0.9 * wall_s < ours.seconds <= wall_s + 1e-6  # it was driven all the time
    assert lab.seconds == engine.seconds == pytest.approx(2 * faster[0].seconds)
    assert stock.seconds == careful.seconds == pytest.approx(2 * faster[2].seconds)
    assert stock.train_s < lab.train_s  # what was stopped is less than all trials to the end
    assert unraced.seconds == faster[4].seconds


def test_the_work_is_counted_in_tokens() -> None:
    sweep = read_sweep(EXAMPLE)
    long_turns = replace(RATES, tokens_a_turn=60.0)
    short, long = (cost(sweep, {"lab": rates})[0] for rates in (RATES, long_turns))
    assert long.train_s == pytest.approx(short.train_s / 2)


def test_validation_costs_its_replies_and_a_third_of_training_its_losses() -> None:
    """Once a trial where all are trained to the end; each time that it was made, in a race."""
    sweep = read_sweep(EXAMPLE)
    endless = replace(RATES, reply_turns_per_s=float("inf"))
    slow, fast = (cost(sweep, dict.fromkeys(("lab", "stock"), r)) for r in (RATES, endless))
    made = [e for t in sweep.searched for e in t.evals]
    end = max(made, key=lambda e: (e.turns_seen, e.n_dialogues))
    replies = (
        len(sweep.searched) * end.n_turns,
        sum(e.n_turns for e in made if e.bleu is not None),
    )
    for row, without, n in zip(slow, fast, replies, strict=False):
        assert row.validation_s - without.validation_s == pytest.approx(n / 5)
    lab = fast[0]
    turns = {t.config["train_turns"] for t in sweep.searched}
    assert lab.validation_s == pytest.approx(lab.train_s * end.n_turns / turns.pop() / 3)


def test_training_costs_what_its_rate_says() -> None:
    sweep = read_sweep(EXAMPLE)
    lab, *_ = cost(sweep, {"lab": RATES})
    tokens_a_turn = [
        t.evals[-1].tokens_per_s / t.evals[-1].train_turns_per_s for t in sweep.searched
    ]
    turns = [t.config["train_turns"] for t in sweep.searched]
    tokens = sum(n * each for n, each in zip(turns, tokens_a_turn, strict=True))
    assert lab.train_s == pytest.approx(tokens / (10 * 30))


def test_a_step_is_made_at_the_largest_batch_that_it_allows() -> None:
    rates = replace(RATES, train_turns_per_s={5: 10.0, 16: 30.0, 64: 70.0})
    found = [rates.train_tokens_per_s(dialogues) for dialogues in (4.3, 5.0, 63.9, 64.0, 100.0)]
    assert found == [300.0, 300.0, 900.0, 2100.0, 2100.0]


def test_time_shares_add_up() -> None:
    shares = share_time(read_sweep(EXAMPLE))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["training"] > 0 and shares["validation"] > 0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rates(tmp_path / "rates.jsonl")
    rates = read_rates(path)
    assert rates["lab"].reply_turns_per_s == 1.0  # as the lab's trainer replied
    assert rates["careful"].train_turns_per_s == {5: 6.0, 16: 9.0}
    assert rates["careful"].reply_turns_per_s == 8.0
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
