from __future__ import annotations

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainable.corpus.corpus import Corpus
from trainable.dialogue.slots import CANONICAL
from trainable.evaluation.normalise import normalise_response, respace, respace_whole

WORDS = st.sampled_from(["the", "NAME", "is", "free", "no", "a.m", "i'm", "cb1", "5", "don't"])
SIGNS = st.sampled_from([".", ",", "?", "!", "-", ":", ";", "(", ")", "/", "'s", "&", "$", "..."])


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("[value_count] [type]s in the [hotel_area].", "COUNT TYPE in the AREA."),
        ("[restaurant_name]es and [value_name]-s", "NAME and NAME"),
        ("[Entrance Fee] -ly", "PRICE"),
        ("They are moderate-ly priced hotel -s .", "they are moderate priced hotel."),
        ("leave at [leave at] !", "leave at TIME!"),
    ],
)
def test_follows_the_spec(text: str, normalised: str) -> None:
    assert normalise_response(text) == normalised


def test_every_slot_of_the_vocabulary_becomes_its_canonical_name() -> None:
    assert {name: normalise_response(f"[{name}]") for name in CANONICAL} == CANONICAL


def test_an_unknown_slot_becomes_nothing_and_warns_once() -> None:
    with pytest.warns(UserWarning, match=r"\[made_up_slot\]") as caught:
        assert normalise_response("a [made_up_slot] b") == "a b"
        assert normalise_response("c [made_up_slot]") == "c"
    assert len(caught) == 1


@given(st.lists(st.one_of(WORDS, SIGNS, st.text(string.printable, max_size=5))).map(" ".join))
@example("the 'junction' is free . \"yes\"")
@example("it costs 5 . 50 , no . 7")
def test_piecewise_spacing_equals_moses_on_the_whole(text: str) -> None:
    assert respace(text) == respace_whole(text)


def test_piecewise_spacing_equals_moses_on_real_responses(multiwoz: Corpus) -> None:
    for dialogue in multiwoz.splits["validation"][:100]:
        for turn in dialogue.turns:
            for text in (turn.response, turn.user, turn.delexicalised.lower()):
                assert respace(text) == respace_whole(text)


@given(st.lists(st.sampled_from(["the", "name", "is", "cheap", "and", "open"]), min_size=1))
def test_is_idempotent_on_words_without_slots(words: list[str]) -> None:
    once = normalise_response(" ".join(words) + " .")
    assert normalise_response(once) == once


@pytest.mark.parametrize(
    ("spelling", "meant"),
    [
        ("<hotel_name>", r"\[hotel_name\]"),
        ("[value-address]", r"\[value_address\]"),
        ("{Phone}", r"\[phone\]"),
        ("__postcode__", r"\[postcode\]"),
        ("[hotel.area]", r"\[hotel_area\]"),
        ("[nmae]", r"\[name\]|name"),
    ],
)
def test_another_spelling_of_a_placeholder_is_told(spelling: str, meant: str) -> None:
    with pytest.warns(UserWarning, match=rf"did you mean ({meant})"):
        normalise_response(f"it is {spelling} .")


@pytest.mark.filterwarnings("error")
def test_brackets_of_other_things_are_not_told_of() -> None:
    text = "<unk> (free) [name] {} <3 and __init__ cost < 5"
    assert normalise_response(text) == respace(text.replace("[name]", "NAME"))
