"""Importance at one fidelity, GPU time shared, answers that a reader can check."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import Plan, write_sweep

from analysis.answers import answer
from analysis.curves import (
    common_turns,
    count_gpu_hours,
    count_rungs,
    is_by_loss,
    measure_gpu_hours,
    scores_at,
    worked_s,
)
from analysis.importance import measure_importance
from analysis.ranking import rank_trials
from analysis.records import CONFIRMATION, EvalRecord, SweepRecords, TrialRecord, read_sweep


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> SweepRecords:
    folder = write_sweep(tmp_path_factory.mktemp("i") / "sweep", trials=80, n_dialogues=100)
    return read_sweep(folder)


def test_the_field_that_decides_comes_first(records: SweepRecords) -> None:
    measured = measure_importance(records, 512)
    assert measured and list(measured.shares)[:2] == ["lora_modules", "learning_rate"]
    assert sum(measured.shares.values()) == pytest.approx(1)
    assert measured.n_trials == 80


def test_scores_of_one_station_only(records: SweepRecords) -> None:
    early, late = scores_at(records, 512), scores_at(records, 8192)
    assert len(early) == 80 and 5 < len(late) < 60
    assert common_turns(records) == 8192  # at 512 schedules stand at different points
    alike = [t for t in records.trials if t.params.get("schedule", "constant") == "constant"]
    assert common_turns(replace(records, trials=tuple(alike))) == 512
    trial = next(t for t in records.trials if t.id in late)
    assert (early[trial.id], late[trial.id]) == (trial.evals[0].combined, trial.evals[2].combined)


def test_where_rungs_look_at_the_loss_so_do_effects(records: SweepRecords) -> None:
    """At the end only survivors are left; confirmations were scored on other dialogues."""
    alike = [t for t in records.searched if t.params.get("schedule", "constant") == "constant"]
    trials = []
    for t in alike:
        losses = [replace(e, nats_per_word=3 - e.score / 100) for e in t.evals]
        early = [replace(e, combined=None) if e.turns_seen < 8192 else e for e in losses]
        trials.append(replace(t, evals=tuple(early)))
    again = replace(trials[0], id="again", origin={"kind": CONFIRMATION})
    config = {**records.config, "rung_metric": "loss"}
    by_loss = replace(records, trials=(*trials, again), config=config)
    turns = common_turns(by_loss)
    assert turns == 512 and is_by_loss(by_loss, turns) and not is_by_loss(by_loss, 8192)
    expected = {t.id: t.evals[0].nats_per_word for t in trials}
    assert scores_at(by_loss, turns) == expected and "again" not in expected
    measured = measure_importance(by_loss, turns)
    assert measured and measured.n_trials == len(alike)
    said = " ".join(answer(by_loss, rank_trials(by_loss)))
    assert f"What the losses of {len(alike)} trials at 512 turns depend on" in said
    assert count_rungs(by_loss.trials, (512,))[0].reached == len(alike)


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
    shared = [make_trial("a", (3600, 7200)), make_trial("b", (5400, 7200))]
    assert measure_gpu_hours(shared) == pytest.approx({"a": 0.75, "b": 0.25})
    assert count_gpu_hours(shared) == pytest.approx(1.0)


def test_what_does_not_say_when_it_ran_has_cost_nothing_that_is_known() -> None:
    assert measure_gpu_hours([make_trial("a", (0, 1.8e9))]) == {"a": 0.0}
    assert worked_s([make_trial("a", (0, 1.8e9))]) == 0.0


@pytest.mark.slow
def test_fields_that_matter_are_named_where_training_was_equal(tmp_path: Path) -> None:
    def prefer(params: Mapping[str, Any], turns: int) -> float:
        return float(np.clip(0.9 - 0.25 * (np.log10(params["learning_rate"]) + 3) ** 2, 0.05, 1))

    level = read_sweep(
        write_sweep(tmp_path / "s", trials=70, n_dialogues=100, plan=Plan(quality=prefer))
    )
    mixed = answer(level, rank_trials(level))
    assert not any(s.startswith("learning_rate") and "512" in s for s in mixed)
    alike = [t for t in level.trials if t.params.get("schedule", "constant") == "constant"]
    level = replace(level, trials=tuple(alike))
    sentences = answer(level, rank_trials(level))
    rate = next(s for s in sentences if s.startswith("learning_rate"))
    assert rate.startswith("learning_rate: the quarter of") and "Combined at 512 turns" in rate
    assert "learning_rate" in next(s for s in sentences if "fANOVA" in s)


def test_no_field_is_named_where_none_matters(records: SweepRecords) -> None:
    """Scores shuffled among the trials: what is said of fields is said by chance."""
    rng = np.random.default_rng(0)
    alike = [t for t in records.searched if t.params["schedule"] == "constant"]
    named = 0
    for _ in range(3):
        evals = [t.evals[:1] for t in alike]
        rng.shuffle(evals)
        mixed = [replace(t, evals=e) for t, e in zip(alike, evals, strict=True)]
        level = replace(records, trials=tuple(mixed))
        said = answer(level, rank_trials(level))
        named += any("fANOVA" in s or "quarter" in s for s in said)
    assert named == 0


def test_no_answer_without_scores(tmp_path: Path) -> None:
    records = read_sweep(write_sweep(tmp_path / "s", trials=1, failing=(0,)))
    none = replace(records, trials=records.searched)
    assert "no trial has a score yet" in answer(none, rank_trials(none))[0]
