"""What vLLM asks of an adapter, as its documentation and PEFTHelper have it."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import safe_open

from trainable.storage.adapter import read_adapter_config
from tune.export.command import main
from tune.export.serving import list_obstacles


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
        ({"rank_pattern": {"q_proj": 8}}, "several scales"),
    ],
)
def test_an_adapter_that_vllm_would_refuse_or_misread(fields: dict, told: str) -> None:
    (obstacle,) = list_obstacles({"r": 16, "lora_alpha": 32, **fields})
    assert told in obstacle
