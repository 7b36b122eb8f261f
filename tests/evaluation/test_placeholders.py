"""Precision, recall and F1 of placeholders, by hand."""

import pytest

from trainable.corpus.load import load_corpus
from trainable.evaluation.evaluator import Evaluator
from trainable.evaluation.placeholders import measure_placeholders


def test_counts_by_hand() -> None:
    pairs = [
        ("[hotel_name] is at [address] , [address]", "[name] is at [value_address]"),  # 2 of 3, 2
        ("which area ?", "[choice] hotels in the [area]"),  # 0 of 0, 2
        ("[phone]", "you are welcome"),  # 0 of 1, 0
    ]
    figures = measure_placeholders(pairs)
    assert figures == {
        "per_reply": pytest.approx(4 / 3),
        "corpus_per_reply": pytest.approx(4 / 3),
        "precision": pytest.approx(50),
        "recall": pytest.approx(50),
        "f1": pytest.approx(50),
    }


def test_more_of_every_placeholder_buys_no_precision() -> None:
    own = ["[name] is [pricerange]", "the phone is [phone]"]
    plain = measure_placeholders([(text, text) for text in own])
    eager = measure_placeholders([(f"{text} [phone] [address] [postcode]", text) for text in own])
    assert plain is not None and eager is not None
    assert plain["f1"] == 100 and eager["recall"] == 100
    assert eager["precision"] == pytest.approx(100 * 3 / 9) and eager["f1"] < 60


def test_without_placeholders_there_is_nothing_to_measure() -> None:
    assert measure_placeholders([("hello [name]", "hello")]) is None


def test_the_corpus_s_own_replies_have_all_of_them() -> None:
    corpus = load_corpus("cambridge")
    dialogues = corpus.get_split("validation")[:20]
    own = {d.id: [{"response": t.delexicalised} for t in d.turns] for d in dialogues}
    figures = Evaluator(dialogues, corpus.database).score(own).placeholders
    assert figures is not None and figures["f1"] == 100
    assert figures["per_reply"] == figures["corpus_per_reply"] > 0.5
