"""The plumbing around mwzeval, which is not installable here: a stand-in answers for it."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from trainable.corpus.load import load_corpus
from trainable.evaluation.cross_check import find_differences
from trainable.evaluation.evaluator import Evaluator, Scores
from trainable.trial import ConfigError


def install(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]) -> list[Any]:
    """A module in mwzeval's place that answers this, and what it was given."""
    given: list[Any] = []

    class StandIn:
        def __init__(self, **groups: bool) -> None:
            given.append(groups)

        def evaluate(self, data: Any) -> dict[str, Any]:
            given.append(data)
            if not answer:
                raise KeyError(next(iter(data)))
            return answer

    package, metrics = types.ModuleType("mwzeval"), types.ModuleType("mwzeval.metrics")
    metrics.Evaluator = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mwzeval", package)
    monkeypatch.setitem(sys.modules, "mwzeval.metrics", metrics)
    return given


@pytest.fixture
def responses() -> dict[str, Any]:
    turns = [{"response": "[name] [phone]", "state": {}}, {"response": "[ref]", "state": {}}]
    return {"sng04": turns, "pmul05": turns}


@pytest.fixture
def scores(small_folder: Path, own_cache: Path, responses: dict[str, Any]) -> Scores:
    corpus = load_corpus(str(small_folder))
    return Evaluator(corpus.splits["test"], corpus.database).score(responses, states="gold")


def answer_as(scores: Scores) -> dict[str, Any]:
    return {
        "bleu": {"mwz22": scores.bleu},
        "success": {
            "inform": {"total": scores.inform, **scores.per_domain["inform"]},
            "success": {"total": scores.success, **scores.per_domain["success"]},
        },
        "richness": dict(scores.richness),
        "dst": None,
    }


def test_agreement(
    monkeypatch: pytest.MonkeyPatch, responses: dict[str, Any], scores: Scores
) -> None:
    given = install(monkeypatch, answer_as(scores))
    assert find_differences(responses, scores) == []
    assert given[0] == {"bleu": True, "success": True, "richness": True, "dst": False}
    assert given[1]["sng04"][0] == {"response": "[name] [phone]"}  # gold states were asked for
    assert "state" in responses["sng04"][0]


def test_a_difference_is_named(
    monkeypatch: pytest.MonkeyPatch, responses: dict[str, Any], scores: Scores
) -> None:
    answer = answer_as(scores)
    answer["success"]["success"]["restaurant"] -= 0.1
    answer["success"]["inform"]["hotel"] = 1.0
    install(monkeypatch, answer)
    assert find_differences(responses, scores) == [
        "inform hotel: None here, 1.0 by mwzeval",
        "success restaurant: 100.0 here, 99.9 by mwzeval",
    ]


def test_without_mwzeval_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, responses: dict[str, Any], scores: Scores
) -> None:
    monkeypatch.setitem(sys.modules, "mwzeval", None)
    with pytest.raises(ConfigError, match="pip install 'mwzeval @ git"):
        find_differences(responses, scores)


def test_a_corpus_that_mwzeval_does_not_know(
    monkeypatch: pytest.MonkeyPatch, responses: dict[str, Any], scores: Scores
) -> None:
    install(monkeypatch, {})
    with pytest.raises(ConfigError, match="KeyError 'sng04'; leave --cross-check out"):
        find_differences(responses, scores)
