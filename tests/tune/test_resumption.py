"""A resumed sweep finds what it began with, here or on another machine, or says in one line what
differs."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from inline import Killed, make_config, open_search, run_inline
from test_resume import KillAfter, finish
from test_search import summarise

from analysis.records import read_sweep
from trainable.trial import ConfigError, TrialConfig
from tune.driver.header import compose_header, note_resumption
from tune.plan.checks import check_space
from tune.plan.resumption import check_files, check_same_bases, check_trials, describe_move
from tune.run import main


def test_trials_take_nothing_back(tmp_path: Path) -> None:
    config, space = make_config(tmp_path, trials=4)
    finish(config, space)
    records = read_sweep(config.folder)
    check_trials(records, 4)
    check_trials(records, None)
    with pytest.raises(ConfigError, match="--trials 3 is below the 4 trials that s has proposed"):
        check_trials(records, 3)


def test_records_that_cannot_be_written_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, space = make_config(tmp_path, trials=1)
    finish(config, space)
    check_files(config.folder)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "evals.jsonl")
    with pytest.raises(ConfigError, match=r"evals.jsonl, and that cannot be written"):
        check_files(config.folder)
    monkeypatch.undo()
    (config.folder / "evals.jsonl").unlink()
    (config.folder / "evals.jsonl").mkdir()
    with pytest.raises(ConfigError, match=r"evals.jsonl, and that cannot be written"):
        check_files(config.folder)


def test_more_words_at_least_than_at_most_are_refused() -> None:
    values = {"method": "none", "quantisation": "fp32", "max_new_tokens": 8}
    with pytest.raises(ConfigError, match="min_new_tokens=9 is above max_new_tokens=8"):
        TrialConfig(**values, min_new_tokens=9)
    assert TrialConfig(**values, min_new_tokens=8).min_new_tokens == 8


@pytest.mark.parametrize("asha", ["stop", "promote"])
def test_another_machine_goes_on_from_the_folder_alone(tmp_path: Path, asha: str) -> None:
    reference = finish(*make_config(tmp_path / "whole", asha=asha, trials=8))
    config, space = make_config(tmp_path / "here", asha=asha, trials=8)
    with pytest.raises(Killed):
        run_inline(open_search(config, space, (KillAfter(17),))[0])
    shutil.copytree(config.folder, tmp_path / "there" / "s", symlinks=True)
    shutil.rmtree(tmp_path / "here")
    there, _ = make_config(tmp_path / "there", asha=asha, trials=8)
    run_inline(open_search(there, space)[0])
    assert summarise(read_sweep(there.folder)) == reference
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize(
    ("device", "has_gpus", "note"),
    [
        ("cpu", True, "begun on cpu, goes on with a GPU: results may differ in their last digits"),
        ("H200", False, "begun on H200, goes on without a GPU: results may differ"),
        ("cpu", False, None),
        ("H200", True, None),
        ("NVIDIA H200", True, None),
        (
            "NVIDIA A100-SXM4-80GB",
            True,
            "begun on NVIDIA A100-SXM4-80GB, goes on with H200: results",
        ),
        ("none", True, None),  # the toy's
    ],
)
def test_a_move_between_cpu_and_gpus_of_any_model_is_told(
    tmp_path: Path, device: str, has_gpus: bool, note: str | None
) -> None:
    config, space = make_config(tmp_path, trials=1)
    finish(config, space)
    records = read_sweep(config.folder)
    trials = [replace(t, resolved=replace(t.resolved, device=device)) for t in records.trials]  # type: ignore[type-var]
    models = {"H200"} if has_gpus else set()
    told = describe_move(replace(records, trials=tuple(trials)), has_gpus, models)
    assert told == note or (note and told and told.startswith(note))


def test_other_versions_go_on_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = "tune.driver.header.read_versions"
    config, space = make_config(tmp_path, trials=2)
    began = {"torch": "2.11.0", "transformers": "5.1", "bitsandbytes": "0.49"}
    monkeypatch.setattr(where, lambda: began)
    open_search(config, space)
    monkeypatch.setattr(where, lambda: {"torch": "2.12.0", "transformers": "5.1"})
    search, records = open_search(config, space)
    assert records is not None
    line = note_resumption(search, compose_header(config, space, records), records)
    assert "torch 2.11.0 -> 2.12.0; bitsandbytes 0.49 -> none; results may differ" in line
    assert "transformers" not in line and read_sweep(config.folder).notes == (line,)


@pytest.fixture
def told(tmp_path: Path) -> dict:
    """The identity of the embedded model, as a trial's first result tells it."""
    from trainable.model.fingerprint import fingerprint
    from trainable.model.identity import identify
    from tune.export.tokens import load_tokens

    config = TrialConfig(method="none", quantisation="fp32")
    tokens = load_tokens(config)
    own = identify("tiny", tokens.tokenizer, tokens.special, is_random=True)
    return {**own, "weights": fingerprint("tiny")}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, None),
        ({"weights": None}, None),  # they were not here in safetensors then
        ({"weights": "F32:0000"}, "sweep s was made on another base model: its weights differ"),
        ({"eos_id": -7}, "the prompts of sweep s were written with another tokenizer"),
        ({"sample_ids": [1, 2]}, "the prompts of sweep s were written with another tokenizer"),
    ],
)
def test_another_base_or_tokenizer_under_the_same_name_is_refused(
    tmp_path: Path, told: dict, changed: dict, message: str | None
) -> None:
    config, space = make_config(tmp_path, trials=1, fixed={"base_model": "tiny"})
    search, _ = open_search(config, space)
    lease = search.lease()
    assert lease is not None
    told = {**told, **changed}
    if str(told.get("weights")).startswith("F32:0000"):
        told["weights"] = told["weights"].replace("F32", fingerprint_kind())
    event = {"event": "resolved", "trial": lease.trial, "base": told, "time_s": 1.0}
    with (config.folder / "evals.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")
    records, configs = read_sweep(config.folder), check_space(space, config.base)
    if message is None:
        check_same_bases(records, configs)
        return
    with pytest.raises(ConfigError, match=message):
        check_same_bases(records, configs)


def fingerprint_kind() -> str:
    from trainable.model.fingerprint import fingerprint

    return str(fingerprint("tiny")).partition(":")[0]


def test_a_resume_below_what_was_run_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config, space = make_config(tmp_path, trials=4)
    finish(config, space)
    before = (config.folder / "sweep.json").read_bytes()
    assert main(["--resume", "s", "--storage", str(tmp_path), "--trials", "2"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (config.folder / "sweep.json").read_bytes() == before
