"""Placeholders that a tokenizer holds as tokens of their own: they are said, heard and biased."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainable.corpus.load import load_corpus
from trainable.engine.slots.task import Task, Tasks
from trainable.evaluation.normalise import normalise_response
from trainable.model.base import BaseSpec, load_base
from trainable.model.source import EMBEDDED_FOLDER
from trainable.model.special_ids import find_openers
from trainable.trial import ConfigError, TrialConfig

PLACEHOLDERS = ["[name]", "[address]", "[phone]", "[postcode]", "[choice]"]
WAYS: dict[str, Callable[[Any], Any]] = {
    "special": lambda tokenizer: tokenizer.add_special_tokens(
        {"additional_special_tokens": PLACEHOLDERS}
    ),
    "added": lambda tokenizer: tokenizer.add_tokens(PLACEHOLDERS),
}


def make_base(folder: Path, way: str, *, is_resized: bool) -> str:
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    assert WAYS[way](tokenizer) == len(PLACEHOLDERS)
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED_FOLDER)
    if is_resized:
        model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def open_task(base_model: str) -> tuple[Task, Any]:
    base = load_base(BaseSpec(base_model=base_model, quantisation="fp32", device="cpu"))
    return Tasks(base).of(TrialConfig(quantisation="fp32", method="none")), base


@pytest.mark.parametrize("way", WAYS)
def test_placeholders_survive_their_way_through_tokens(way: str, tmp_path: Path) -> None:
    task, base = open_task(make_base(tmp_path, way, is_resized=True))
    ids = base.tokenizer.convert_tokens_to_ids(PLACEHOLDERS)
    assert set(ids) <= set(base.special.openers)
    dialogues = load_corpus("cambridge").get_split("validation")[:20]
    replies = [turn.delexicalised for dialogue in dialogues for turn in dialogue.turns]
    tokens = task.tokenise([f" {reply}" for reply in replies])
    assert {i for row in tokens for i in row} & set(ids)
    said = [task.decode([*row, base.special.eos]) for row in tokens]
    assert list(map(normalise_response, said)) == list(map(normalise_response, replies))


def test_placeholders_without_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="resize_token_embeddings"):
        open_task(make_base(tmp_path, "added", is_resized=False))


def test_other_tokens_in_brackets_open_no_placeholder() -> None:
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    before = find_openers(tokenizer)
    assert before
    tokenizer.add_special_tokens({"additional_special_tokens": ["[INST]", "[/INST]"]})
    assert find_openers(tokenizer) == before


def test_words_without_rows_are_refused(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED_FOLDER)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    tokenizer.add_tokens(["user>"])
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    told = rf"writes 'user>' as {len(tokenizer) - 1}, and the model has {len(tokenizer) - 1} rows"
    with pytest.raises(ConfigError, match=told):
        open_task(str(tmp_path))[0].held_out("validation", 1)
