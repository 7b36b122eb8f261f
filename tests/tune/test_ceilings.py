"""python -m tune.ceilings: each of replies and states beside the corpus's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainable.corpus.load import load_corpus
from trainable.evaluation.evaluator import Evaluator
from tune.ceilings import main, quote_corpus

FOUND = {"restaurant": {"food": "italian"}}
OTHER = {"restaurant": {"food": "indian"}}


def tell(folder: Path, replies: list[str], states: list[Any] | None) -> list[str]:
    path = folder / "predictions.json"
    turns: list[dict[str, Any]] = [{"response": reply} for reply in replies]
    for turn, state in zip(turns, states or [], strict=False):
        turn["state"] = state
    path.write_text(json.dumps({"sng03": turns}))
    return ["--predictions", str(path), "--json"]


def test_what_is_lost_by_states_and_what_by_replies(
    small_folder: Path, own_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = ["--corpus", str(small_folder)]
    replies = ["How about [name]?", "It is [ref]."]  # without the phone number
    assert main([*tell(tmp_path, replies, [OTHER, OTHER]), *corpus]) == 0
    captured = capsys.readouterr()
    rows = {(r["replies"], r["states"]): r for r in json.loads(captured.out)["rows"]}
    own, system = "the corpus's", "the system's"
    rates = {key: (row["inform"], row["success"]) for key, row in rows.items()}
    assert rates[own, own] == (100, 100) and rows[own, own]["bleu"] == pytest.approx(100)
    assert rates[system, own] == (100, 0)
    assert rates[own, system] == (0, 0)
    assert rows[own, own]["success_by_domain"] == {"restaurant": 100}
    assert "restaurant" in captured.err
    assert main([*tell(tmp_path, replies, None), *corpus]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2


def test_the_corpus_alone(
    small_folder: Path, own_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a system one row, which says what its own states as predictions say, too."""
    corpus = load_corpus(str(small_folder))
    assert main(["--corpus", str(small_folder), "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)["rows"]
    dialogues = corpus.get_split("validation")
    states = {d.id: [{"state": turn.state} for turn in d.turns] for d in dialogues}
    scores = Evaluator(dialogues, corpus.database).score(
        quote_corpus(dialogues, states), states="predicted"
    )
    assert scores.board == "end-to-end" and scores.combined == row["combined"]
    assert row["placeholders"]["f1"] == 100


def test_where_there_is_no_goal(
    tmp_path: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chats = tmp_path / "chats.jsonl"
    row = {"messages": [{"role": r, "content": "hi"} for r in ("user", "assistant")]}
    chats.write_text("\n".join([json.dumps(row)] * 20))
    assert main([*tell(tmp_path, ["hi"], None), "--corpus", str(chats)]) == 2
    assert "need goals and a database" in capsys.readouterr().err
