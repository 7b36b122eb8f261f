"""A base model from the Hub: the driver brings what the workers will read, and no more, once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_stand_in import Hub, serve
from huggingface_hub import constants

from trainable.model.source import EMBEDDED_FOLDER, fetch_base, is_cached
from trainable.trial import ConfigError

MODEL = "somebody/small"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in speaks LFS
    with serve() as hub:
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", hub.url)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        files = {p.name: p.read_bytes() for p in EMBEDDED_FOLDER.iterdir()}
        hub.put(MODEL, {**files, "pytorch_model.bin": b"0", "onnx/model.onnx": b"0"})
        yield hub


def test_weights_come_once_and_in_one_format(hub: Hub, tmp_path: Path) -> None:
    assert not is_cached(MODEL)
    fetch_base(MODEL)
    assert is_cached(MODEL)
    names = {p.name for p in (tmp_path / "cache").rglob("*")}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= names
    assert not {"pytorch_model.bin", "model.onnx"} & names
    asked = len(hub.seen)
    fetch_base(MODEL)
    assert len(hub.seen) == asked


def test_a_model_that_is_not_there_is_one_line(hub: Hub) -> None:
    with pytest.raises(ConfigError, match="the hub knows no such model"):
        fetch_base("somebody/else")
