"""--seeds N: a point is judged by all of its seeds together, at every rung and after any kill."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from inline import make_config, open_search, run_inline
from test_resume import finish, outlive
from test_search import summarise

from analysis.records import SweepRecords, TrialRecord, read_sweep
from trainable.result import ValidationRequest
from trainable.trial import TrialConfig
from trainable.worker.lease import Report
from tune.search.points import view_point
from tune.search.profiles import BASES
from tune.search.search import Search
from tune.search.trials import Progress, view


@dataclass
class Hear:
    on_event: Callable[[object], None]


def list_points(records: SweepRecords, seeds: int) -> list[tuple[TrialRecord, ...]]:
    trials = records.proposed
    return [trials[i : i + seeds] for i in range(0, len(trials), seeds)]


@pytest.mark.parametrize("asha", ["stop", "promote"])
@pytest.mark.parametrize("room", [1, 4])
def test_a_point_is_pruned_as_a_point_by_its_mean(tmp_path: Path, asha: str, room: int) -> None:
    config, space = make_config(tmp_path, trials=24, seeds=3, asha=asha)
    search, _ = open_search(config, space)
    search.room = room
    run_inline(search)
    records = read_sweep(config.folder)
    points = list_points(records, 3)
    assert len(points) == 8
    for seeds in points:
        assert len({t.state for t in seeds}) == 1 and len({len(t.evals) for t in seeds}) == 1
    assert {seeds[0].state for seeds in points} == {"COMPLETE", "PRUNED"}
    decided = {(d.turns, d.trials): d for d in records.decisions}
    assert len(decided) == len(records.decisions)
    for seeds in points:
        for turns in (400, 800):
            scores = [e.score for t in seeds if (e := t.eval_at(turns)) and e.turns_seen < 1600]
            if scores:
                decision = decided.pop((turns, tuple(t.id for t in seeds)))
                assert decision.metric == "combined"
                assert decision.value == pytest.approx(fmean(scores))
                went_on = all(t.eval_at(turns + 1) for t in seeds)
                assert decision.goes_on == (went_on and asha == "stop")
    assert not decided
    for one, other in pairwise(list_points(records, 3)):  # proposals learn from whole points
        assert max(t.number for t in one) < min(t.number for t in other)


@pytest.mark.parametrize("asha", ["stop", "promote", "off"])
@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.slow
def test_killed_again_and_again_the_points_are_the_undisturbed_ones(
    tmp_path: Path, asha: str, every: int
) -> None:
    settings: dict[str, Any] = {"asha": asha, "trials": 11, "seeds": 3}  # the last point lacks one
    whole, space = make_config(tmp_path, name="whole", **settings)
    reference = finish(whole, space)
    config, _ = make_config(tmp_path, name="killed", **settings)
    assert outlive(config, space, every) > 0
    records = read_sweep(config.folder)
    assert summarise(records) == reference
    told = [(d.turns, d.trials, d.value, d.goes_on) for d in records.decisions]
    undisturbed = read_sweep(whole.folder).decisions
    assert told == [(d.turns, d.trials, d.value, d.goes_on) for d in undisturbed]


def test_a_failed_seed_does_not_hold_up_its_point(tmp_path: Path) -> None:
    """The others are judged without it, also where they had been waiting for it."""
    config, space = make_config(tmp_path, trials=3, seeds=3, baseline=False)
    search, _ = open_search(config, space)
    search.room = 3
    leases = [search.lease() for _ in range(3)]
    for lease in leases[:2]:
        assert lease is not None and not search.report(evaluate(search, lease.trial, 400))
    assert [t.state for t in search.searched] == ["WAITING", "WAITING", "RUNNING"]
    assert search.lease() is None
    assert not search.report(Report(trial="0002", failure="no memory"))
    assert [t.state for t in search.searched] == ["QUEUED", "QUEUED", "FAIL"]
    again, _ = open_search(config, space)
    assert [t.state for t in again.searched] == ["QUEUED", "QUEUED", "FAIL"]
    decision = read_sweep(config.folder).decisions[0]
    assert decision.trials == ("0000", "0001") and decision.goes_on


def evaluate(search: Search, trial: str, turns: int) -> Report:
    from trainable.solo.toy import ToyFinetuner

    finetuner = ToyFinetuner(search.trials[trial].config)
    finetuner.train_until(turns)
    return Report(trial=trial, evaluation=finetuner.evaluate(ValidationRequest(20)))


def test_what_the_sampler_sees_of_a_point_follows_its_seeds(tmp_path: Path) -> None:
    """It is kept between proposals, and made anew once a seed has moved."""
    config, space = make_config(tmp_path, trials=4, seeds=2, asha="promote")
    search, _ = open_search(config, space)

    def compare(event: object) -> None:
        for point in search.race.proposed:
            seen = view_point(point.seeds, has_earned=True)
            assert point.view(has_earned=True) == seen

    search.recorder.listeners.append(Hear(compare))
    run_inline(search)


@pytest.mark.parametrize(("state", "unearned"), [("RUNNING", "RUNNING"), ("WAITING", "PRUNED")])
def test_who_was_promoted_counts_for_the_sampler_by_its_last_score(
    state: str, unearned: str
) -> None:
    base = {**BASES["tiny"], "train_turns": 1600, "warmup_turns": 0, "seed": 0}
    trial = Progress("0000", 0, {"lora_rank": 8}, TrialConfig.from_dict(base), state=state)
    assert view(trial, has_earned=True).state == "RUNNING"
    trial.scores[400] = -2.0
    assert view(trial).state == unearned
    judged = view(trial, has_earned=True)
    assert judged.state == "PRUNED" and judged.reached == (400, -2.0)
