"""Seeds averaged into one adapter: it adds the mean of what they add, computed by peft."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from trainable.model.source import EMBEDDED_FOLDER
from trainable.storage.adapter import read_adapter_config, read_trial
from tune.average import main
from tune.evaluate import main as evaluate


def list_seeds(trained: Path, folder: Path) -> list[Path]:
    """A trained adapter, and two that its weights were moved from."""
    (checkpoint,) = (trained / "checkpoints" / "0001").iterdir()
    places = [folder / str(seed) for seed in range(3)]
    for seed, place in enumerate(places):
        shutil.copytree(checkpoint, place)
        weights = load_file(place / "adapter_model.safetensors")
        noise = torch.Generator().manual_seed(seed)
        moved = {
            name: w + 0.3 * w.std() * torch.randn(w.shape, generator=noise)
            for name, w in sorted(weights.items())
        }
        save_file(moved, place / "adapter_model.safetensors", metadata={"format": "pt"})
    return places


@torch.no_grad()
def add_up(folder: Path) -> dict[str, torch.Tensor]:
    """What peft adds to each weight of the base."""
    base = AutoModelForCausalLM.from_pretrained(EMBEDDED_FOLDER, dtype=torch.float32)
    before = {name: value.clone() for name, value in base.state_dict().items()}
    merged = PeftModel.from_pretrained(base, folder).merge_and_unload().state_dict()
    return {name: value - before[name] for name, value in merged.items()}


def average(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_it_adds_the_mean_of_what_they_add(trained: Path, tmp_path: Path) -> None:
    seeds = list_seeds(trained, tmp_path)
    fields = json.loads((seeds[2] / "adapter_config.json").read_text())
    doubled = {**fields, "lora_alpha": 2 * fields["lora_alpha"]}  # a scale of its own
    (seeds[2] / "adapter_config.json").write_text(json.dumps(doubled))
    out = tmp_path / "mean"
    assert average(*seeds, "--out", out) == 0
    wanted = [add_up(seed) for seed in seeds]
    found = add_up(out)
    for name, value in found.items():
        mean = sum(own[name] for own in wanted) / 3
        assert torch.allclose(value, mean, atol=1e-6), name
    assert read_adapter_config(out)["r"] == 3 * fields["r"]


def test_a_lower_rank_is_the_nearest(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = list_seeds(trained, tmp_path)
    rank = read_adapter_config(seeds[0])["r"]
    for chosen in (rank, 3 * rank):
        assert average(*seeds, "--rank", chosen, "--out", tmp_path / f"mean{chosen}") == 0
    assert average(*seeds, "--out", tmp_path / "exact") == 0
    told = capsys.readouterr().out
    exact = add_up(tmp_path / "exact")
    wanted = {name: value for name, value in exact.items() if value.any()}
    whole, short = (add_up(tmp_path / f"mean{r}") for r in (3 * rank, rank))
    lost = kept = 0.0
    for name, value in wanted.items():
        assert torch.allclose(whole[name], value, atol=1e-6)
        singular = torch.linalg.svdvals(value.double())
        apart = float((short[name] - value).square().sum())
        assert apart == pytest.approx(float(singular[rank:].square().sum()), rel=1e-3)
        lost, kept = lost + apart, kept + float(value.square().sum())
    assert f"rank {rank} leaves out {(lost / kept) ** 0.5:.2%}" in told
    assert read_trial(tmp_path / f"mean{rank}")["lora_rank"] == rank


@pytest.mark.nightly
def test_the_mean_of_one_adapter_thrice_is_that_adapter(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scored by the engine, with the trial's task and decoding."""
    (checkpoint,) = (trained / "checkpoints" / "0001").iterdir()
    assert average(*[checkpoint] * 3, "--out", tmp_path / "mean") == 0
    capsys.readouterr()
    wanted = ["--adapter", str(tmp_path / "mean"), "--split", "validation", "--dialogues", "4"]
    assert evaluate([*wanted, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    recorded = json.loads((checkpoint / "evaluation.json").read_text())["result"]
    assert scores["combined"] == pytest.approx(recorded["combined"])


def test_what_has_no_mean_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = list_seeds(trained, tmp_path)
    (other,) = (trained / "checkpoints" / "0000").iterdir()  # q and v alone

    def refuse(*arguments: object) -> str:
        assert average(*arguments, "--out", tmp_path / "mean") == 2
        told = capsys.readouterr().err
        assert told.startswith("error: ") and told.count("\n") == 1
        return told

    assert "two finished seeds of one point, and small has 1" in refuse(trained)
    assert "must change the same layers" in refuse(seeds[0], other)
    assert "--trial is of one sweep" in refuse(*seeds, "--trial", "0000")
    trainer = json.loads((seeds[1] / "trainer.json").read_text())
    trainer["config"]["context"] = "history+state"
    (seeds[1] / "trainer.json").write_text(json.dumps(trainer))
    assert "the same text, and context is 'history'" in refuse(*seeds)
    fields = json.loads((seeds[0] / "adapter_config.json").read_text())
    (seeds[0] / "adapter_config.json").write_text(json.dumps({**fields, "use_dora": True}))
    assert "is a DoRA" in refuse(*seeds)
    assert not (tmp_path / "mean").exists()
