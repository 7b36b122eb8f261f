"""What is told of a base model's weights: the same however they lie, another for others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from trainable.model.identity import check_identity, fingerprint
from trainable.model.source import EMBEDDED_FOLDER, find_cached
from trainable.trial import ConfigError


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(EMBEDDED_FOLDER)


def test_shards_are_the_same_weights(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path, max_shard_size="1MB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert fingerprint(str(tmp_path)) == fingerprint("tiny")


def test_one_layer_makes_another_base_and_another_type_is_not_compared(
    model: Any, tmp_path: Path
) -> None:
    own = {"weights": fingerprint("tiny")}
    model.float().save_pretrained(tmp_path / "wide")
    check_identity({"weights": fingerprint(str(tmp_path / "wide"))}, own, "an adapter")
    model.bfloat16().model.layers[3].self_attn.o_proj.weight.data.mul_(1.5)
    model.save_pretrained(tmp_path / "other")
    with pytest.raises(ConfigError, match="an adapter was made on another base model"):
        check_identity({"weights": fingerprint(str(tmp_path / "other"))}, own, "an adapter")


def test_a_hub_models_shards_count_when_all_are_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "m1.safetensors", "b": "m2.safetensors"}}')
    cache = {index.name: str(index), "m1.safetensors": "/c/m1"}
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda _, name: cache.get(name))
    assert find_cached("lab/model") == []
    cache["m2.safetensors"] = "/c/m2"
    assert find_cached("lab/model") == [Path("/c/m1"), Path("/c/m2")]
