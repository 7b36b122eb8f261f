"""A trial's replies become its evaluation, each figure under its own name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainable.corpus.losses import Losses
from trainable.evaluation.validation import Generated, load_evaluator, score
from trainable.result import TrainerState, ValidationRequest

OWN = [{"response": "How about [name]? Call [phone]."}, {"response": "Done, it is [ref]."}]
HALF = [{"response": "How about [name]?"}, {"response": "Done."}]  # informs, without success
BAD = [{"response": "No."}, {"response": "No."}]


def make_generated(
    corpus: Path,
    responses: dict[str, Any],
    split: str = "test",
    bias: float | None = None,
    **changes: Any,
) -> Generated:
    asked = ValidationRequest(len(responses), bias=bias, split=split)
    fields: dict[str, Any] = {
        **{"corpus": str(corpus), "response": "delexicalised", "asked": asked},
        **{"responses": responses, "generate_s": 3.0},
    }
    way = {"turns_seen": 600, "steps": 40, "train_s": 20.0, "tokens_seen": 9000, "peak_gib": 0.25}
    losses = Losses(loss_nats=1.5, nats_per_word=2.5, nats_per_placeholder=0.5)
    parts = {"losses": losses, "state": TrainerState.of(**way)}
    return Generated(**{**fields, **parts, **changes})


@pytest.mark.usefixtures("own_cache")
def test_every_figure_stands_under_its_own_name(small_folder: Path) -> None:
    replies = {"sng04": HALF, "pmul05": BAD}
    other = make_generated(small_folder, {"sng04": OWN, "pmul05": HALF}, bias=3.0, generate_s=4.0)
    evaluation = score(make_generated(small_folder, replies), other)
    result = evaluation.result
    assert (result.inform, result.success) == (50, 0)
    scores = load_evaluator(str(small_folder), "test", 2, "delexicalised").score(replies)
    for name in ("bleu", "inform", "success", "combined", "intervals", "richness", "n_dialogues"):
        assert getattr(result, name) == getattr(scores, name), name
    assert result.combined == pytest.approx(result.bleu + 25)
    assert (result.loss_nats, result.split, result.peak_gib) == (1.5, "test", 0.25)
    assert (result.nats_per_word, result.nats_per_placeholder) == (2.5, 0.5)
    assert result.calibrated is not None and result.calibrated["bias"] == 3
    assert (result.calibrated["inform"], result.calibrated["success"]) == (100, 50)
    assert result.distinct_replies == 75  # No. twice
    assert (result.turns_seen, result.steps, result.n_turns) == (600, 40, 4)
    assert (result.train_turns_per_s, result.tokens_per_s) == (30, 450)
    assert (result.train_s, result.generate_s) == (20, 7) and 7 < result.eval_s < 60
    assert evaluation.dialogues["sng04"]["inform"] == 1
    assert evaluation.dialogues["sng04"]["success"] == 0


@pytest.mark.usefixtures("own_cache")
def test_lexicalised_replies_are_held_against_what_was_said(small_folder: Path) -> None:
    said = [
        {"response": "How about Da Nino? Call 01223 1."},
        {"response": "Done, it is ABC123."},
    ]
    for response, others in (("lexicalised", OWN), ("delexicalised", said)):
        replies = said if response == "lexicalised" else OWN
        both = [
            score(make_generated(small_folder, {"sng03": r}, response=response, split="validation"))
            for r in (replies, others)
        ]
        assert both[0].result.bleu == pytest.approx(100) and both[1].result.bleu < 60
