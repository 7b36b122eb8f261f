from __future__ import annotations

from pathlib import Path

import pytest

from trainable.corpus import cambridge
from trainable.corpus.embedded import generate_folder
from trainable.corpus.load import load_corpus
from trainable.evaluation.evaluator import Evaluator


def test_the_embedded_corpus_own_responses_are_perfect() -> None:
    corpus = load_corpus("cambridge")
    for split in ("validation", "test"):
        own = {
            d.id: [{"response": turn.delexicalised} for turn in d.turns]
            for d in corpus.splits[split]
        }
        scores = Evaluator(corpus.splits[split], corpus.database).score(own)
        assert scores.bleu == pytest.approx(100)
        assert (scores.inform, scores.success) == (100, 100)


def test_it_is_generated_once_and_never_half(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        folder.mkdir()
        (folder / "half").touch()
        raise OSError("disk full")

    def write(folder: Path) -> None:
        folder.mkdir()
        (folder / "whole").touch()

    monkeypatch.setattr(cambridge, "write_corpus", fail)
    with pytest.raises(OSError, match="disk full"):
        generate_folder()
    monkeypatch.setattr(cambridge, "write_corpus", write)
    folder = generate_folder()
    assert [path.name for path in folder.iterdir()] == ["whole"]
    monkeypatch.setattr(cambridge, "write_corpus", fail)  # would fail if called
    assert generate_folder() == folder
