"""What vLLM asks of an adapter, by our rules and, where it is installed, by its own classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from test_checked import seal

from trainable.engine.pack import Pack
from trainable.model.base import BaseSpec, load_base
from trainable.storage.adapter import read_adapter_config
from trainable.storage.adapter_ranks import read_rank, read_scale
from trainable.trial import TrialConfig
from tune.export.command import main
from tune.export.serving import VLLM_RANKS, largest_rank, list_obstacles, why_not_vllm
from tune.search.profiles import BASES


def test_an_exported_adapter_is_one_that_vllm_takes(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([str(trained), "--out", str(out), "--base-model-id", "me/tiny"]) == 0
    fields = read_adapter_config(out)
    assert list_obstacles(fields) == []
    with safe_open(out / "adapter_model.safetensors", framework="np") as file:
        for name in file.keys():  # noqa: SIM118
            path, kind, ending = name.removeprefix("base_model.model.").rsplit(".", 2)
            assert name.startswith("base_model.model.model.layers.") and ending == "weight"
            assert path in fields["target_modules"]
            shape = file.get_slice(name).get_shape()
            assert shape[0 if kind == "lora_A" else 1] == fields["r"]
    card = (out / "README.md").read_text()
    assert "$ vllm serve me/tiny --enable-lora --max-lora-rank 16 \\\n" in card
    assert "--lora-modules dialogue=out --quantization bitsandbytes\n" in card


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "whole modules"),
        ({"r": 1024}, "rank is above 512"),
        ({"lora_bias": True}, "bias of its own"),
        ({"rank_pattern": {"q_proj": 640}}, "rank is above 512"),
    ],
)
def test_an_adapter_that_vllm_would_refuse_or_misread(fields: dict, told: str) -> None:
    (obstacle,) = list_obstacles({"r": 16, "lora_alpha": 32, **fields})
    assert told in obstacle


def test_an_export_says_what_to_do_where_vllm_refuses(
    sweep: Path, best: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place,) = (sweep / "checkpoints" / best).glob("*/adapter_config.json")
    wide = {**json.loads(place.read_text()), "rank_pattern": {"none_such": 640}}
    place.write_text(json.dumps(wide))
    seal(place.parent)
    assert main([str(sweep), "--out", str(tmp_path / "out"), "--base-model-id", "me/tiny"]) == 0
    told = "vLLM does not take this adapter (its rank is above 512): export it with --merged"
    assert told in capsys.readouterr().out.splitlines()


NEEDED = ("config.lora", "lora.lora_model")
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rank-stabilised": {"rslora": True},
    "ranks by layer": {"rank_pattern": "down_proj=6,every-second=2", "rslora": True},
    "some depths": {"lora_layers": "last-half"},
    "PiSSA": {"lora_init": "pissa", "rank_pattern": "ffn=3"},
    "DoRA": {"dora": True},
}


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_vllm_s_own_classes_read_it_as_peft_does(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peft_helper = pytest.importorskip("vllm.lora.peft_helper")
    lora_config, lora_model = (pytest.importorskip(f"vllm.{n}") for n in NEEDED)
    told = {**BASES["tiny"], "quantisation": "fp32", "warmup_turns": 0, **KINDS[kind]}
    told.pop("double_quantisation")
    config = TrialConfig.from_dict(told)
    pack = Pack(load_base(BaseSpec.of(config, device="cpu")), 1, max_rank=64, pass_tokens=2048)
    pack.join("a", config, None)
    pack.copy_state("a").write(tmp_path)
    fields = read_adapter_config(tmp_path)
    ranks = [rank for rank in VLLM_RANKS if rank >= largest_rank(fields)]
    if why_not_vllm(fields):
        with pytest.raises(ValueError, match="DoRA"):
            peft_helper.PEFTHelper.from_local_dir(str(tmp_path), 1024).validate_legal(
                lora_config.LoRAConfig(max_lora_rank=ranks[0])
            )
        return
    helper = peft_helper.PEFTHelper.from_local_dir(str(tmp_path), 1024)
    helper.validate_legal(lora_config.LoRAConfig(max_lora_rank=ranks[0]))
    monkeypatch.setattr(lora_model, "PIN_MEMORY", False, raising=False)  # that a GPU reads
    model = lora_model.LoRAModel.from_local_checkpoint(
        str(tmp_path), set(LAYERS), helper, lora_model_id=1, device="cpu", dtype=torch.float32
    )
    own = load_file(tmp_path / "adapter_model.safetensors")
    assert len(model.loras) == len(own) / 2
    for path, found in model.loras.items():
        a, b = (own[f"base_model.model.{path}.lora_{side}.weight"] for side in "AB")
        found.optimize()  # the scale goes into B
        assert torch.equal(found.lora_a, a) and len(a) == read_rank(fields, path)
        assert torch.allclose(found.lora_b, b * read_scale(fields, path))
