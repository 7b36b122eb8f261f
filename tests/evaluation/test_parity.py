"""The scores that the genuine mwzeval 0.0.3 gave published systems, number for number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainable.corpus.corpus import Corpus
from trainable.evaluation.evaluator import Evaluator
from trainable.evaluation.predictions import read_predictions


@pytest.fixture(scope="module")
def evaluator(multiwoz: Corpus) -> Evaluator:
    return Evaluator(multiwoz.splits["test"], multiwoz.database)


@pytest.mark.parametrize("system", ["hdsa", "marco", "uniconv", "damd"])
def test_every_score_equals_mwzevals(
    system: str, shared_folder: Path, evaluator: Evaluator
) -> None:
    folder = shared_folder / "parity"
    wanted = json.loads((folder / f"{system}.scores.json").read_text())
    scores = evaluator.score(read_predictions(folder / f"{system}.json.gz"), partial=True)
    assert scores.bleu == pytest.approx(wanted["bleu"]["mwz22"], abs=1e-6)
    for metric, total in (("inform", scores.inform), ("success", scores.success)):
        assert {"total": total, **scores.per_domain[metric]} == wanted["success"][metric]
    assert scores.richness == pytest.approx(wanted["richness"], abs=1e-9)
    if wanted["dst"] is None:
        assert scores.dst is None
    else:
        assert scores.dst == pytest.approx(wanted["dst"], abs=1e-9)
    assert scores.states == wanted["_meta"]["states"]
    assert (scores.n_dialogues, scores.n_turns) == (
        wanted["_meta"]["dialogues"],
        wanted["_meta"]["turns"],
    )


def test_the_corpus_own_responses_reach_the_known_ceiling(
    multiwoz: Corpus, evaluator: Evaluator
) -> None:
    own = {
        dialogue.id: [{"response": turn.delexicalised} for turn in dialogue.turns]
        for dialogue in multiwoz.splits["test"]
    }
    scores = evaluator.score(own)
    assert scores.bleu == pytest.approx(100)
    assert scores.inform == pytest.approx(93.7, abs=0.5)
    assert scores.success == pytest.approx(90.9, abs=0.5)
    assert scores.board == "policy optimisation"


def test_lexicalised_responses_inform_nobody(multiwoz: Corpus, evaluator: Evaluator) -> None:
    lexicalised = {
        dialogue.id: [{"response": turn.response} for turn in dialogue.turns]
        for dialogue in multiwoz.splits["test"]
    }
    scores = evaluator.score(lexicalised)
    assert scores.success < 20
    assert 20 < scores.bleu < 100


def test_a_subset_scores_as_its_dialogues_do_in_the_whole(
    multiwoz: Corpus, shared_folder: Path, evaluator: Evaluator
) -> None:
    predictions = read_predictions(shared_folder / "parity/marco.json.gz")
    few = multiwoz.splits["test"][:50]
    subset = Evaluator(few, multiwoz.database).score({d.id: predictions[d.id] for d in few})
    whole = evaluator.score(predictions)
    assert subset.dialogues == {name: whole.dialogues[name] for name in subset.dialogues}
    assert subset.inform == 100 * sum(d["inform"] for d in subset.dialogues.values()) / 50
