"""What an ended trial costs the driver's memory."""

import gc
import os
import tracemalloc
import weakref
from pathlib import Path

import pytest
from inline import make_config, open_search
from ray.tune.experiment.trial import Trial

from trainable.result import EvalResult, Evaluation
from trainable.worker.lease import Report
from tune.folder.mirror import Mirror
from tune.search.budget import Budget
from tune.search.search import Search
from tune.workers.bridge import ForgetCallback

BEFORE, TRIALS = 20, 60
MOST_BYTES = 6500  # of a trial with three evaluations; 5,150 were measured


def carry_out(search: Search, n: int) -> None:
    """The next trials, with evaluations as full as a real model's."""
    details = {
        "richness": {f"measure {i}": i + 0.5 for i in range(7)},
        "intervals": {name: (1.0 * i, 2.5 * i) for i, name in enumerate(("bleu", "combined"))},
        "placeholders": {f"rate {i}": i + 0.25 for i in range(5)},
    }
    rates = {"bleu": 20.5, "inform": 70.5, "success": 60.5, "combined": 86.0, "states": "gold"}
    for _ in range(n):
        lease = search.lease()
        assert lease is not None
        for milestone in lease.milestones:
            result = EvalResult(
                turns_seen=milestone.turns,
                steps=milestone.turns // 25,
                train_s=milestone.turns / 7,
                loss_nats=1 / (search.next_number + 1),
                nats_per_word=1 / (search.next_number + 2),
                n_dialogues=20,
                n_turns=140,
                split="validation",
                **rates,
                **details,
            )
            evaluation = Evaluation(result=result, dialogues={}, responses={})
            search.report(Report(trial=lease.trial, evaluation=evaluation))


def test_an_ended_trial_takes_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # thousands, which take longest
    config, space = make_config(tmp_path, trials=BEFORE + TRIALS, sampler="random", asha="off")
    search, _ = open_search(config, space)
    search.recorder.listeners += [Budget(search), Mirror(config.folder, "s", space)]
    carry_out(search, BEFORE)
    tracemalloc.start()
    try:
        carry_out(search, TRIALS)
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not search.running
    assert taken / TRIALS < MOST_BYTES


def test_ray_keeps_nothing_large_of_an_ended_trial(tmp_path: Path) -> None:
    config, space = make_config(tmp_path)
    lease = open_search(config, space)[0].lease()
    assert lease is not None
    trial = Trial("toy", stub=True, config={"lease": lease}, evaluated_params={"lease": lease})
    trial.experiment_tag = repr(lease)
    trial.run_metadata.last_result = {"config": {"lease": lease}}
    trial.run_metadata.update_metric("training_iteration", 1)
    known = weakref.ref(lease)
    del lease
    ForgetCallback().on_trial_complete(1, [trial], trial)
    gc.collect()
    assert known() is None and not trial.experiment_tag
    assert not trial.run_metadata.metric_analysis and not trial.run_metadata.metric_n_steps
