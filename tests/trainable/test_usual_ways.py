"""The usual ways train and reply for real, as they are said to."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from trainable.engine.pack import Pack
from trainable.model.base import BaseSpec, load_base
from trainable.trial import TrialConfig
from tune.bench import baselines as usual_ways
from tune.bench import usual
from tune.bench.baselines import spell
from tune.bench.careful import CarefulTrial
from tune.bench.usual import LAB_ACCUMULATED, STOCK_DIALOGUES, UsualTrial


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A sweep's, of a trial that has just begun."""
    config = TrialConfig(
        quantisation="fp32", lora_rank=4, alpha_over_rank=2.0, rslora=False,
        lora_modules="all-linear", lora_dropout=0.0, learning_rate=1e-2, schedule="constant",
        warmup_turns=0, batch_turns=8, train_turns=100, weight_decay=0.0, clip_norm=1.0,
        max_new_tokens=8,
    )  # fmt: skip
    pack = Pack(load_base(BaseSpec(quantisation="fp32", device="cpu")), 1, 4)
    pack.join("it", config, None)
    pack.copy_state("it").write(tmp_path / "it")
    return tmp_path / "it"


@pytest.mark.parametrize("is_lab", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_step_trains_the_adapter_on_so_many_turns(checkpoint: Path, is_lab: bool) -> None:
    trial = UsualTrial(spell(checkpoint), is_lab=is_lab)
    before = [p.detach().clone() for p in trial.trained]
    turns = trial.step()
    assert turns == LAB_ACCUMULATED if is_lab else turns > STOCK_DIALOGUES
    changed = [not torch.equal(p, old) for p, old in zip(trial.trained, before, strict=True)]
    assert sum(changed) >= len(changed) // 2  # of a fresh adapter only B moves at first
    assert trial.reply(4, 2) == sum(w.n_turns for w in trial.plain.task.held_out("validation", 2))


@pytest.mark.slow
def test_with_care_batches_are_of_like_length_and_replies_are_the_merged_model_s(
    checkpoint: Path,
) -> None:
    trial = CarefulTrial(spell(checkpoint), dialogues=3)
    assert trial.plain.base.residency == "fp32"
    before = [p.detach().clone() for p in trial.trained]
    drawn = [next(trial.batches) for _ in range(4)]
    lengths = [[len(draw.window.ids) for draw in batch] for batch in drawn]
    assert all(len(batch) == 3 and max(batch) - min(batch) < 40 for batch in lengths)
    assert trial.step() >= 3
    assert any(not torch.equal(p, old) for p, old in zip(trial.trained, before, strict=True))
    trial.merge()
    windows = trial.plain.task.held_out("validation", 2)
    n_replies = sum(w.n_turns for w in windows)
    assert trial.reply(64, 2) == trial.reply_continuously(2) == n_replies


@pytest.mark.slow
def test_the_command_prints_a_rate_a_line(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--checkpoint", str(checkpoint), "--ways", "lab", "engine", "--seconds", "0.1"]
    monkeypatch.setattr(
        sys, "argv", ["usual_ways", *flags, "--dialogues", "8", "--engine-dialogues", "8"]
    )
    usual_ways.main()
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["way"], row["work"]) for row in rows] == [
        ("lab", "train"), ("lab", "reply, batch 1"), ("lab", "reply, batch 16"),
        ("engine", "train"), ("engine", "reply"),
    ]  # fmt: skip
    assert all(row["turns_per_s"] > 0 for row in rows)


@pytest.mark.nightly
def test_processes_share_the_device_and_their_rates_add_up(checkpoint: Path) -> None:
    flags = usual_ways.argparse.Namespace(processes=2, seconds=0.5, dialogues=2)
    train, reply = usual_ways.measure_stock(spell(checkpoint), flags)
    assert train["processes"] == reply["processes"] == 2
    assert train["turns_per_s"] > 0 and reply["turns_per_s"] > 0


@pytest.mark.slow
def test_a_process_that_fails_keeps_nobody_waiting(checkpoint: Path, tmp_path: Path) -> None:
    flags = usual_ways.argparse.Namespace(processes=2, seconds=0.5, dialogues=2)
    config = replace(spell(checkpoint), corpus=str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit, match="2 at a time failed here"):
        list(usual_ways.measure_stock(config, flags))


def test_a_rate_is_of_all_the_work_until_the_budget_is_spent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = itertools.count(100, 2)  # a look takes two seconds
    monkeypatch.setattr(usual, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    cpu = torch.device("cpu")
    assert usual.measure_rate(lambda: 10, cpu, budget_s=5.0) == 30 / 6
    assert usual.measure_rate(lambda: 7, cpu, budget_s=0.0) == 7 / 2
