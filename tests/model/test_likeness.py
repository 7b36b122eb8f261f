"""Replies that mean the same are nearer, by the base model's own embeddings."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainable.model.likeness import open_likeness, read_embeddings
from trainable.trial import ConfigError


def test_words_in_common_bring_texts_near() -> None:
    alike = open_likeness("tiny")
    reference = "there is a cheap hotel in the north"
    near, far = "a cheap hotel is in the north", "goodbye and thank you"
    assert alike(reference, reference) == 1.0
    assert 1.0 > alike(near, reference) > alike(far, reference) + 0.1
    assert alike("", reference) == 0.0


def test_without_safetensors_it_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="needs the input embeddings of"):
        read_embeddings(str(tmp_path))
