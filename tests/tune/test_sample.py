"""A model's own replies as a corpus: which are kept, and what is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainable.corpus.load import load_corpus
from trainable.corpus.rewrite import rewrite
from trainable.evaluation.sampled import choose_replies
from tune.sample import main


def test_replies_that_say_the_same_take_the_corpus_s_place(
    small_folder: Path, own_cache: Path, tmp_path: Path
) -> None:
    corpus = load_corpus(str(small_folder))
    train = corpus.get_split("train")
    samples = [
        {"sng01": [{"response": "[name] or [name] , [phone] !"}, {"response": "Done: [ref]."}]},
        {"sng01": [{"response": "Call [phone], [name]."}, {"response": "It is done, [ref]."}]},
        {"sng01": [{"response": "How about [restaurant_name]? [phone]."}, {"response": "Done."}]},
        {"sng01": [{"response": "How about [name]? Call."}, {"response": "Done, it is done."}]},
    ]
    chosen = choose_replies(train, samples)
    assert chosen == {
        ("sng01", 0): "How about [restaurant_name]? [phone].",  # of two that give both
        ("sng01", 1): "It is done, [ref].",
    }
    out = tmp_path / "again"
    rewrite(small_folder, chosen, {"samples": 3}, out)
    again = load_corpus(str(out))
    said = {d.id: [turn.delexicalised for turn in d.turns] for d in again.get_split("train")}
    before = {d.id: [turn.delexicalised for turn in d.turns] for d in train}
    assert said == {**before, "sng01": [*chosen.values()]}
    acts = {d.id: [turn.acts for turn in d.turns] for d in again.get_split("train")}
    assert not any(acts["sng01"]) and any(acts["sng02"])
    for split in ("validation", "test"):
        assert again.get_split(split) == corpus.get_split(split)
    assert [d.turns[0].state for d in again.get_split("train")] == [d.turns[0].state for d in train]
    assert json.loads((out / "replies.json").read_text()) == {"samples": 3}
    assert not list(tmp_path.glob(".again*"))


@pytest.mark.nightly
def test_the_embedded_model_writes_a_corpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", "tiny", "--corpus", "cambridge", "--set", "quantisation=fp32"]
    drawn = ["--samples", "2", "--dialogues", "3", "--set", "max_new_tokens=16"]
    out = ["--out", str(tmp_path / "own")]
    assert main([*model, *drawn, *out, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dialogues"] == 3 and 0 <= told["replaced"] < told["turns"]
    assert len(load_corpus(str(tmp_path / "own")).get_split("train")) == 1000
    assert main([*model, *drawn, *out]) == 2
    assert "must be a new folder" in capsys.readouterr().err
    assert main([*model, "--set", "decoding=greedy", "--out", str(tmp_path / "x")]) == 2
    assert "has no meaning with decoding=greedy" in capsys.readouterr().err
