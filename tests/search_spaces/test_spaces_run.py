"""Every space as a real sweep: the embedded model, or tiny ones made on the fly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GPTNeoXConfig,
    PretrainedConfig,
    T5Config,
)

from analysis.records import SweepRecords, read_sweep
from search_spaces.find import list_spaces
from trainable.model.source import EMBEDDED_FOLDER
from tune import run

AT_NIGHT = (
    "architecture",
    "from_scratch",
    "instruction",
    "lora_modules",
    "lora_rank",
    "lr_steps",
    "methods",
    "model_size",
)
ON_THE_FLY = ("model_size", "architecture")  # their base models are the hub's
SMALL = ["--train-turns", "50", "--rungs", "", "--eval-dialogues", "2", "--asha", "off"]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]


def sweep(space: str, folder: Path, *flags: str) -> SweepRecords:
    common = ["--profile", "tiny", "--storage", str(folder), "--name", "x"]
    assert run.main(["--space", space, *common, *SMALL, *flags]) == 0
    records = read_sweep(folder / "x")
    assert {t.state for t in records.trials} == {"COMPLETE"}
    assert not records.warnings
    for trial in records.searched:
        assert all(trial.config.get(name) == v for name, v in trial.params.items() if v is not None)
    return records


def choose(name: str) -> Any:
    """Spaces that run as another does, or whose parts have tests of their own, are nightly."""
    return pytest.param(name, marks=[pytest.mark.nightly] * (name in AT_NIGHT))


@pytest.mark.parametrize("name", [choose(n) for n in list_spaces() if n not in ON_THE_FLY])
def test_a_space_on_the_embedded_model(name: str, tmp_path: Path) -> None:
    trials = {"decoding": "6"}.get(name, "2")
    records = sweep(name, tmp_path, "--trials", trials, "--set", "max_new_tokens=24")
    assert len(records.searched) == int(trials)
    if name == "decoding":
        kinds = {t.params["decoding"] for t in records.searched}
        assert kinds == {"greedy", "sampling", "beam", "contrastive"}
        assert all(t.last is not None and t.last.steps == 0 for t in records.trials)
    if name == "from_scratch":
        assert all(
            t.resolved is not None and "method=full" in t.resolved.execution
            for t in records.searched
        )


@pytest.mark.parametrize("name", [choose(n) for n in ON_THE_FLY])
def test_a_space_over_base_models(name: str, tmp_path: Path) -> None:
    folders = make_bases(tmp_path)
    choices = ["tiny", folders["neox"] if name == "model_size" else folders["t5"]]
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from dataclasses import replace\n"
        "from optuna.distributions import CategoricalDistribution\n"
        f"from search_spaces.{name} import SPACE as HUB\n"
        f"CHOICES = {tuple(choices)!r}\n"
        "SPACE = replace(\n"
        "    HUB,\n"
        "    searched={**HUB.searched, 'base_model': CategoricalDistribution(CHOICES)},\n"
        "    first=tuple({'base_model': c, 'learning_rate': 1e-3} for c in CHOICES),\n"
        ")\n"
    )
    flags = ["--trials", "2", "--pack", "1", "--set", "max_new_tokens=16"]
    records = sweep(str(mine), tmp_path, *flags)
    sizes = {t.resolved.total_params for t in records.searched if t.resolved}
    assert len(sizes) == 2


def make_bases(folder: Path) -> dict[str, str]:
    """A GPT-NeoX and an encoder-decoder with the embedded model's tokenizer."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    ends: dict[str, Any] = {"eos_token_id": tokenizer.eos_token_id, "vocab_size": len(tokenizer)}
    configs: dict[str, tuple[Any, PretrainedConfig]] = {
        "neox": (
            AutoModelForCausalLM,
            GPTNeoXConfig(
                hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
                max_position_embeddings=1024, **ends,
            ),
        ),
        "t5": (
            AutoModelForSeq2SeqLM,
            T5Config(
                d_model=64, d_kv=32, d_ff=128, num_layers=2, num_heads=2,
                decoder_start_token_id=tokenizer.pad_token_id,
                pad_token_id=tokenizer.pad_token_id, **ends,
            ),
        ),
    }  # fmt: skip
    for name, (kind, config) in configs.items():
        kind.from_config(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return {name: str(folder / name) for name in configs}
