"""Replies scored where there are no goals, and how alike they are to the references."""

from __future__ import annotations

from typing import Any

import pytest
import sacrebleu

from trainable.dialogue.dialogue import Dialogue, Turn
from trainable.evaluation.measure import measure
from trainable.evaluation.objective import read_objective
from trainable.evaluation.plain import PlainEvaluator
from trainable.result import EvalResult, Evaluation

SAID = {"a": ["Good day, friend!", "It is [hotels_area] of here."], "b": ["No."]}
REPLIES = {"a": ["good day  friend", "It is [hotels_area] of it."], "b": ["no."]}


def make_dialogues() -> list[Dialogue]:
    def turn(text: str) -> Turn:
        state = {"hotels": {"area": "west"}}
        return Turn(user="?", response=text, delexicalised=text, state=state, booked=())

    return [Dialogue(id=n, turns=tuple(map(turn, texts)), goal={}) for n, texts in SAID.items()]


def respond(**more: Any) -> dict[str, list[dict[str, Any]]]:
    return {n: [{"response": text, **more} for text in texts] for n, texts in REPLIES.items()}


def test_bleu_is_sacrebleu_s_and_there_are_no_rates() -> None:
    scores = PlainEvaluator(make_dialogues(), has_slots=False).score(respond())
    texts = [[t for n in SAID for t in said[n]] for said in (REPLIES, SAID)]
    assert scores.bleu == pytest.approx(sacrebleu.corpus_bleu(texts[0], [texts[1]]).score)
    assert scores.inform is scores.success is scores.combined is scores.placeholders is None
    assert (scores.n_dialogues, scores.n_turns) == (2, 3)
    low, high = scores.intervals["bleu"]
    assert low <= scores.bleu <= high


def test_slots_and_states_are_told_apart() -> None:
    evaluator = PlainEvaluator(make_dialogues(), has_slots=True)
    scores = evaluator.score(respond(state={"hotels": {"area": "west"}}))
    assert scores.placeholders and scores.placeholders["f1"] == 100
    assert scores.dst and scores.dst["joint_accuracy"] == pytest.approx(100)
    wrong = evaluator.score(respond(state={"hotels": {"area": "east"}}))
    assert wrong.dst and wrong.dst["joint_accuracy"] == 0


@pytest.mark.parametrize(("name", "value"), [("exact", 100 / 3), ("rouge", 100 * (2 + 4 / 5) / 3)])
def test_likeness_is_the_mean_over_turns(name: str, value: float) -> None:
    dialogues = make_dialogues()
    scores = PlainEvaluator(dialogues, has_slots=True).score(respond())
    given: dict[str, Any] = {
        **{"turns_seen": 1, "steps": 1, "loss_nats": 1.0, "richness": {}, "split": "validation"},
        **{"inform": None, "success": None, "combined": None, "states": "gold", "intervals": {}},
    }
    result = EvalResult(bleu=scores.bleu, n_dialogues=2, n_turns=3, **given)
    evaluation = Evaluation(result=result, dialogues=scores.dialogues, responses=respond())
    measured = measure(read_objective(name), evaluation, dialogues)
    assert measured.result.value == pytest.approx(value)
    sums = [row["objective"] for row in measured.dialogues.values()]
    assert 100 * sum(s for s, _ in sums) / sum(n for _, n in sums) == pytest.approx(value)
