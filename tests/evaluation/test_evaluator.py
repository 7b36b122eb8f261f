from __future__ import annotations

import copy
import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainable.corpus.load import load_corpus
from trainable.evaluation.evaluator import Evaluator, Scores
from trainable.trial import ConfigError


@pytest.fixture
def evaluator(small_folder: Path, own_cache: Path) -> Evaluator:
    corpus = load_corpus(str(small_folder))
    dialogues = [d for split in corpus.splits.values() for d in split]
    return Evaluator(dialogues, corpus.database)


def own(**changes: Any) -> dict[str, Any]:
    """The small corpus's own responses."""
    turns = [
        {"response": "How about [name]? Call [phone]."},
        {"response": "Done, it is [ref]."},
    ]
    names = ["sng01", "sng02", "sng03", "sng04", "pmul05"]
    return {**{name: copy.deepcopy(turns) for name in names}, **changes}


STATE = {"restaurant": {"food": "italian"}}


def with_states(responses: dict[str, Any], state: Any) -> dict[str, Any]:
    return {name: [{**turn, "state": state} for turn in turns] for name, turns in responses.items()}


def test_the_own_responses_reach_the_top(evaluator: Evaluator) -> None:
    scores = evaluator.score(own())
    assert (scores.inform, scores.success) == (100, 100)
    assert scores.bleu == pytest.approx(100)
    assert scores.combined == pytest.approx(200)
    assert scores.per_domain == {"inform": {"restaurant": 100}, "success": {"restaurant": 100}}
    assert scores.intervals["combined"] == pytest.approx((200, 200))
    assert (scores.n_dialogues, scores.n_turns) == (5, 10)
    assert scores.dialogues["sng01"] == {
        "inform": 1,
        "success": 1,
        "bleu": [13, 11, 9, 7, 13, 11, 9, 7, 13, 13],
    }


def test_combined_is_made_of_the_parts_and_lies_in_its_interval(evaluator: Evaluator) -> None:
    bad = [{"response": "How about it?"}, {"response": "Done."}]
    scores = evaluator.score(own(sng01=bad, sng02=bad))
    assert (scores.inform, scores.success) == (60, 60)
    assert scores.combined == (scores.inform + scores.success) / 2 + scores.bleu
    for metric in ("bleu", "inform", "success", "combined"):
        low, high = scores.intervals[metric]
        assert low < getattr(scores, metric) < high
    assert scores.domain_intervals["inform"]["restaurant"] == scores.intervals["inform"]


def test_states_decide_the_board(evaluator: Evaluator) -> None:
    gold = evaluator.score(own())
    assert (gold.states, gold.board, gold.dst) == ("gold", "policy optimisation", None)
    tracked = evaluator.score(with_states(own(), STATE))
    assert (tracked.states, tracked.board) == ("predicted", "end-to-end")
    assert tracked.dst is not None
    assert tracked.dst["joint_accuracy"] == pytest.approx(50)  # bookpeople is never found
    assert tracked.intervals["joint_accuracy"] == pytest.approx((50, 50))
    assert tracked.dst["slot_precision"] == pytest.approx(1)
    assert tracked.dst["slot_recall"] == pytest.approx(2 / 3)


def test_wrong_states_cost_inform_unless_gold_ones_are_asked_for(evaluator: Evaluator) -> None:
    wrong = with_states(own(), {"restaurant": {"food": "indian"}})
    assert evaluator.score(wrong).inform == 0
    assert evaluator.score(wrong, states="gold").inform == 100


def test_one_turn_without_a_state_means_gold_states_for_all(evaluator: Evaluator) -> None:
    mixed = with_states(own(), {"restaurant": {"food": "indian"}})
    del mixed["sng03"][1]["state"]
    assert evaluator.score(mixed).states == "gold"
    with pytest.raises(ConfigError, match=r"--states predicted .*sng03"):
        evaluator.score(mixed, states="predicted")


def test_given_active_domains_are_used_where_every_turn_has_them(evaluator: Evaluator) -> None:
    elsewhere = {
        name: [{**turn, "active_domains": ["hotel"]} for turn in turns]
        for name, turns in own().items()
    }
    assert evaluator.score(elsewhere).inform == 0
    del elsewhere["sng01"][0]["active_domains"]
    assert evaluator.score(elsewhere).inform == 100


def test_the_input_stays_as_it_was_and_the_answer_too(evaluator: Evaluator) -> None:
    responses = with_states(own(), {"restaurant": {"Food": " Italain"}})
    before = copy.deepcopy(responses)
    first = evaluator.score(responses)
    assert responses == before
    assert evaluator.score(responses) == first


def without_msttr(scores: Scores) -> dict[str, Any]:
    record = dataclasses.asdict(scores)
    del record["richness"]["msttr"]  # defined over the concatenation, in order
    return record


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20
)
@given(st.randoms(use_true_random=False))
def test_the_order_of_dialogues_does_not_matter(evaluator: Evaluator, rng: random.Random) -> None:
    responses = with_states(own(pmul05=[{"response": "No."}, {"response": "[phone] [ref]"}]), STATE)
    shuffled = list(responses.items())
    rng.shuffle(shuffled)
    assert without_msttr(evaluator.score(dict(shuffled))) == without_msttr(
        evaluator.score(responses)
    )


def test_partial_scores_what_is_there(evaluator: Evaluator) -> None:
    few = {"sng01": own()["sng01"]}
    assert evaluator.score(few, partial=True).n_dialogues == 1
    with pytest.raises(ConfigError, match="4 of 5 dialogues are missing"):
        evaluator.score(few)


def test_dialogues_without_goals_are_refused(small_folder: Path, own_cache: Path) -> None:
    corpus = load_corpus(str(small_folder))
    aimless = [dataclasses.replace(d, goal={}) for d in corpus.splits["test"]]
    with pytest.raises(ConfigError, match=r"2 of 2 have none \(first: sng04\)"):
        Evaluator(aimless, corpus.database)
    with pytest.raises(ConfigError, match="0 of 0"):
        Evaluator([], corpus.database)
