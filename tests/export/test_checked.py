"""Exports and adapters that would give other replies than their trial: refused, nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TRIALS, compose_sweep, run_trial
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from search_spaces.find import find_space
from trainable.engine.finetuner import SoloFinetuner
from trainable.model.source import EMBEDDED_FOLDER
from trainable.storage.checkpoint import MANIFEST, _fingerprint
from trainable.trial import ConfigError, TrialConfig
from tune.bench.tiny_models import write_model
from tune.driver.header import compose_header, write_header
from tune.evaluate import main as evaluate
from tune.export import merge
from tune.export.command import main as export
from tune.export.probe import least_share
from tune.folder.recorder import Recorder

NAMES = ("--base-model-id", "me/tiny")


@pytest.mark.parametrize(
    "held", [{"quantisation": "int8"}, {"quantisation": "bf16", "base_products": "fp8"}]
)
def test_no_merged_weights_compute_products_of_8_bits(held: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="rounds the activations too"):
        merge.check_mergeable(TrialConfig(method="none", **held), "--merged")  # type: ignore[arg-type]


def seal(checkpoint: Path) -> None:
    """A manifest of what lies there now."""
    path = checkpoint / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["files"] = {name: _fingerprint(checkpoint / name) for name in manifest["files"]}
    path.write_text(json.dumps(manifest))


@pytest.mark.slow
def test_a_merged_model_that_says_something_else_is_an_error(
    sweep: Path, best: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = (sweep / "checkpoints" / best).glob("*/adapter_model.safetensors")
    tensors = {n: t * (30 if ".lora_B." in n else 1) for n, t in load_file(path).items()}
    save_file(tensors, path)
    seal(path.parent)
    assert export([str(sweep), "--out", str(tmp_path / "out"), "--merged", *NAMES]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "--merged must give the trial's replies" in told
    assert "fewer than the 100.0% that rounding to float32 leaves" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_merge_without_the_adapter_is_not_taken_for_rounding(
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if in 16 bits, where some replies may differ."""
    monkeypatch.setattr(merge, "is_exact", lambda *_: False)
    monkeypatch.setattr(
        merge,
        "add_up",
        lambda choice, quantisation, dtype: merge.load_values(choice.config, quantisation, dtype),
    )
    assert export([str(trained), "--out", str(tmp_path / "out"), "--merged", *NAMES]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "--merged must predict as the adapter on its base does" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.nightly
@pytest.mark.parametrize("quantisation", ["nf4", "bf16", "fp32"])
def test_layers_that_are_stored_the_other_way_round_are_merged(
    quantisation: str, tmp_path: Path
) -> None:
    """GPT-2's."""
    config = compose_sweep(tmp_path)
    base = str(write_model("gpt2", tmp_path / "gpt2"))
    fixed = {"base_model": base, "quantisation": quantisation, "max_new_tokens": 8}
    fixed |= {} if quantisation == "nf4" else {"double_quantisation": None}
    space = find_space("lora_modules").fix(fixed)
    config.folder.mkdir()
    write_header(config.folder, compose_header(config, space, None))
    trial = space.to_config(TRIALS["0001"], {**config.base, **fixed})
    run_trial(Recorder(config.folder), "0001", trial, 2)
    out = tmp_path / "out"
    assert export([str(config.folder), "--out", str(out), "--merged", *NAMES]) == 0
    figures = json.loads((out / "trial.json").read_text())["merged"]
    assert figures["replies_as_recorded"] == 1.0 or quantisation == "bf16"
    if quantisation == "nf4":
        assert 0 < figures["original_weights"]["weight_distance"] < 0.2


def test_an_adapter_that_peft_would_load_in_part_does_not_go_out(
    sweep: Path, best: str, tmp_path: Path, refuse: Callable[..., str]
) -> None:
    (path,) = (sweep / "checkpoints" / best).glob("*/adapter_config.json")
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "target_modules": fields["target_modules"][:-1]}))
    seal(path.parent)
    assert "peft finds no place for 2 of" in refuse(sweep, "--out", tmp_path / "out", *NAMES)
    assert not (tmp_path / "out").exists()


def test_sixteen_bits_may_differ_in_what_they_explain() -> None:
    assert least_share(0.0, 1000) == pytest.approx(1 - 0.002, abs=0.005)
    assert least_share(0.05, 100) == pytest.approx(0.81)
    assert least_share(0.6, 10) == 0.0


@pytest.fixture(scope="module")
def folder(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("checked") / "out"
    assert export([str(trained), "--out", str(out), *NAMES]) == 0
    return out


def make_base_without_bos(folder: Path) -> str:
    """The embedded model's own weights, with a tokenizer that puts nothing in front of a text."""
    AutoModelForCausalLM.from_pretrained(EMBEDDED_FOLDER).save_pretrained(folder)
    AutoTokenizer.from_pretrained(EMBEDDED_FOLDER).save_pretrained(folder)
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "post_processor": None}))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "bos_token": None}))
    return str(folder)


@pytest.mark.slow
def test_prompts_of_another_tokenizer_are_refused(
    folder: Path, trained: Path, best: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((folder / "trial.json").read_text())
    assert record["base"]["prefix_ids"] == record["resolved"]["base"]["prefix_ids"] == [1]
    other = make_base_without_bos(tmp_path / "other")
    asked = ["--dialogues", "1", "--device", "cpu", "--base-model"]
    assert evaluate(["--adapter", str(folder), *asked, other]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "begins every sequence with the tokens [1], and the base model's []" in told
    (checkpoint,) = (p.parent for p in (trained / "checkpoints" / best).glob("*/trainer.json"))
    config = TrialConfig.from_dict(json.loads((checkpoint / "trainer.json").read_text())["config"])
    moved = Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))
    kept = json.loads((moved / "trainer.json").read_text())
    kept["base"]["prefix_ids"] = []
    (moved / "trainer.json").write_text(json.dumps(kept))
    with pytest.raises(ConfigError, match="begins every sequence with the tokens"):
        SoloFinetuner(config, "cpu", moved)


def test_an_export_on_other_weights_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED_FOLDER)
    model.model.layers[0].mlp.up_proj.weight.data.add_(0.01)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(EMBEDDED_FOLDER).save_pretrained(tmp_path)
    assert evaluate(["--adapter", str(folder), "--base-model", str(tmp_path)]) == 2
    assert "made on another base model" in capsys.readouterr().err
