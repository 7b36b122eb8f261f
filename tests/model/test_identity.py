"""What is told of a base model's weights: the same however they lie, another for others."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from trainable.model.fingerprint import fingerprint, is_same
from trainable.model.identity import check_identity
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


@pytest.mark.parametrize("name", ["model.layers.0.mlp.up_proj.weight", "model.embed_tokens.weight"])
def test_any_byte_makes_another_base_which_a_former_version_s_record_may_not_tell(
    tmp_path: Path, name: str
) -> None:
    """And it is read once, until the file changes: a copy of the same size and time, too."""
    shutil.copytree(EMBEDDED_FOLDER, tmp_path / "base")
    path, own = tmp_path / "base" / "model.safetensors", fingerprint("tiny")
    assert own is not None and fingerprint(str(path.parent)) == own
    content, time_ns = path.read_bytes(), path.stat().st_mtime_ns
    size = int.from_bytes(content[:8], "little")
    begin, end = json.loads(content[8 : 8 + size])[name]["data_offsets"]
    path.write_bytes(flip(content, 8 + size + (begin + end) // 2))
    os.utime(path, ns=(time_ns, time_ns))
    other = fingerprint(str(path.parent))
    assert other is not None and not is_same(own, other)
    assert is_same(own.rpartition(":")[0], other)  # the beginnings of the layers' tensors


def flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("name", ["model.gguf", "pytorch_model.bin"])
def test_other_files_are_compared_whole(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(b"a" * 100)
    if name.endswith(".gguf"):
        (tmp_path / "config.json").unlink()
    first = fingerprint(str(tmp_path))
    (tmp_path / name).write_bytes(flip(b"a" * 100, 77))
    second = fingerprint(str(tmp_path))
    assert first is not None and second is not None and not is_same(first, second)


@pytest.mark.parametrize(
    "content",
    [b"\xff" * 8 + b"{}", (10).to_bytes(8, "little") + b"[" * 10, b"", b"\x02" + b"\0" * 7 + b"[]"],
)
def test_weights_that_are_none_are_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        fingerprint(str(tmp_path))


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
