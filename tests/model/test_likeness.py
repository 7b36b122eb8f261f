"""Replies that mean the same are nearer, by the base model's own embeddings."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainable.model.likeness import open_likeness, open_sentences, read_embeddings
from trainable.model.source import EMBEDDED_FOLDER
from trainable.trial import ConfigError


def test_words_in_common_bring_texts_near() -> None:
    alike = open_likeness("tiny")
    reference = "there is a cheap hotel in the north"
    near, far = "a cheap hotel is in the north", "goodbye and thank you"
    same, close, apart, empty = alike([reference, near, far, ""], [reference] * 4)
    assert same == 1.0 > close > apart + 0.1 and empty == 0.0


@pytest.mark.slow
def test_sentence_transformers_compare_where_they_are_installed(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="needs the extra semantic")
    alike = open_sentences(str(EMBEDDED_FOLDER))  # any model of transformers' is one, by its mean
    reference = "there is a cheap hotel in the north"
    texts = [reference, "a cheap hotel is in the north", "goodbye and thank you"]
    same, near, far = alike(texts, [reference] * 3)
    assert same == pytest.approx(1) and same > near > far + 0.1
    with pytest.raises(ConfigError, match=r"needs a sentence-transformers model.*give another id"):
        open_sentences(str(tmp_path / "none"))


def test_without_safetensors_it_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="needs the input embeddings of"):
        read_embeddings(str(tmp_path))
