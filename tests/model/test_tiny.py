"""The embedded base model: what ships is what was made, and it can read and write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from trainable.model.base import BaseSpec, load_base
from trainable.model.source import EMBEDDED_FOLDER
from trainable.model.tiny import checksums, main, make


@pytest.fixture(scope="module")
def provenance() -> dict[str, object]:
    return json.loads((EMBEDDED_FOLDER / "provenance.json").read_text())


def test_checksums_size_and_loader_agree(provenance: dict[str, object]) -> None:
    base = load_base(BaseSpec(double_quantisation=True, device="cpu"))
    assert checksums(EMBEDDED_FOLDER) == provenance["sha256"]
    assert base.total_params == provenance["params"]
    assert 1_000_000 <= base.total_params <= 2_000_000
    assert sum(path.stat().st_size for path in EMBEDDED_FOLDER.iterdir()) < 8_000_000
    assert base.model.config.vocab_size == len(base.tokenizer)


def test_tokenizer_gives_text_back_and_keeps_brackets_apart() -> None:
    base = load_base(BaseSpec(double_quantisation=True, device="cpu"))
    text = "user> café at 12:30?\nbot> [restaurant_name] is a [food] place, _really_ [value_area]."
    ids = base.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert base.tokenizer.decode(ids) == text
    assert base.tokenizer(text)["input_ids"] == [*base.special.prefix, *ids]
    pieces = base.tokenizer.tokenize(" [food] [name].")
    assert [p for p in pieces if p.strip("Ġ") in ("[", "]")] == ["Ġ[", "]", "Ġ[", "]"]


def test_it_answers_and_without_slots() -> None:
    """It knows how a dialogue goes, and has never read a slot in a reply."""
    base = load_base(BaseSpec(double_quantisation=True, device="cpu"))
    prompt = "user> place to eat, italian, north, cheap\nbot>"
    ids = torch.tensor([base.tokenizer(prompt)["input_ids"]])
    with torch.no_grad():
        out = base.model.generate(
            input_ids=ids, max_new_tokens=60, do_sample=False, pad_token_id=base.special.pad
        )
    assert out[0, -1] == base.special.eos
    reply = base.tokenizer.decode(out[0, ids.shape[1] : -1])
    assert len(reply.split()) > 1 and "[" not in reply


@pytest.mark.nightly
def test_same_seed_makes_the_same_model(tmp_path: Path) -> None:
    made = [make(tmp_path / name, steps=2, seed=3) for name in ("a", "b")]
    assert made[0]["sha256"] == made[1]["sha256"]
    assert checksums(tmp_path / "a") == made[0]["sha256"]


def test_no_steps_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--steps", "0"]) == 2
    assert capsys.readouterr().err == "error: --steps must be at least 1, not 0\n"
