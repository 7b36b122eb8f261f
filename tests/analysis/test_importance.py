"""Importance at one fidelity, GPU time shared, answers that a reader can check."""

from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import write_sweep

from analysis.answers import answer
from analysis.curves import common_turns, count_rungs, measure_gpu_hours, scores_at
from analysis.importance import measure_importance
from analysis.ranking import rank_trials
from analysis.records import EvalRecord, SweepRecords, TrialRecord, read_sweep


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> SweepRecords:
    folder = write_sweep(tmp_path_factory.mktemp("i") / "sweep", trials=80, n_dialogues=100)
    return read_sweep(folder)


def test_the_field_that_decides_comes_first(records: SweepRecords) -> None:
    measured = measure_importance(records, 512)
    assert measured and next(iter(measured.shares)) == "learning_rate"
    assert sum(measured.shares.values()) == pytest.approx(1)
    assert measured.n_trials == 80


def test_scores_of_one_station_only(records: SweepRecords) -> None:
    early, late = scores_at(records, 512), scores_at(records, 8192)
    assert len(early) == 80 and 5 < len(late) < 60
    assert common_turns(records) == 512
    trial = next(t for t in records.trials if t.id in late)
    assert (early[trial.id], late[trial.id]) == (trial.evals[0].combined, trial.evals[2].combined)


def test_a_field_with_one_value_has_no_importance(records: SweepRecords) -> None:
    only = tuple(t for t in records.trials if t.params.get("lora_modules") == "attention")
    narrowed = replace(records, trials=only)
    measured = measure_importance(narrowed, 512)
    assert measured and "lora_modules" not in measured.shares
    assert measure_importance(narrowed, 0) is None


def test_the_race_loses_whom_it_stops(records: SweepRecords) -> None:
    first, second, last = count_rungs(records.trials, (512, 2048, 8192))
    assert first.reached == 80
    assert second.reached == first.reached - first.stopped
    assert last.reached == second.reached - second.stopped and last.stopped == 0


def make_trial(name: str, *spans: tuple[float, float]) -> TrialRecord:
    evals = tuple(
        EvalRecord(
            **dict.fromkeys(("bleu", "inform", "success", "combined"), 0.0),
            **dict.fromkeys(("steps", "n_dialogues", "n_turns"), 1),
            turns_seen=i,
            loss_nats=None,
            richness={},
            split="validation",
            states="gold",
            intervals={},
            place={"node": "n", "gpu": 0},
            started_s=start,
            time_s=end,
        )
        for i, (start, end) in enumerate(spans)
    )
    return TrialRecord(id=name, number=0, params={}, config={}, evals=evals)


def test_a_shared_gpu_is_paid_once() -> None:
    hours = measure_gpu_hours([make_trial("a", (0, 3600)), make_trial("b", (1800, 3600))])
    assert hours == pytest.approx({"a": 0.75, "b": 0.25})


def test_answers_tell_what_was_put_in(records: SweepRecords) -> None:
    sentences = answer(records, rank_trials(records))
    modules = next(s for s in sentences if s.startswith("lora_modules"))
    assert "it beats ffn by" in modules
    rate = next(s for s in sentences if s.startswith("learning_rate"))
    assert "the best quarter" in rate
    assert any(s.startswith("Against the untuned model: it gains") for s in sentences)


def test_no_answer_without_scores(tmp_path: Path) -> None:
    records = read_sweep(write_sweep(tmp_path / "s", trials=1, failing=(0,)))
    none = replace(records, trials=records.searched)
    assert "no trial has a score yet" in answer(none, rank_trials(none))[0]
