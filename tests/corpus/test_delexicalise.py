from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.corpus.delexicalise import delexicalise
from trainable.trial import ConfigError


def test_overlapping_and_dontcare_spans_stay_as_they_are() -> None:
    spans = [
        ["", "area", "east", 9, 13],
        ["", "name", "the east inn", 5, 17],
        ["", "food", "dontcare", 18, 21],
    ]
    assert delexicalise("Try  the east inn any", spans) == "Try  [name] any"


def test_spans_of_one_start_keep_their_order() -> None:
    spans = [["", "name", "a", 0, 1], ["", "area", "a", 0, 1]]
    assert delexicalise("a b", spans) == "[name] b"


@given(st.text(max_size=20), st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20))))
@pytest.mark.slow
def test_text_outside_spans_is_kept(text: str, pairs: list[tuple[int, int]]) -> None:
    cut = [(start, start + size) for start, size in pairs if start + size <= len(text)]
    spans = [["", "name", text[start:end], start, end] for start, end in cut]
    pieces = delexicalise(text, [s for s in spans if s[2].strip()]).split("[name]")
    position = 0
    for piece in pieces:
        found = text.find(piece, position)
        assert found >= 0
        position = found + len(piece)


@pytest.mark.parametrize(
    ("utterance", "span", "mended"),
    [
        ("I have 13 trains .", ["", "choice", "13", 8, 10], "I have [choice] trains ."),
        ("It is in the East .", ["", "area", "east", 0, 4], "It is in the [area] ."),
        ("13 trains, 1 leaves", ["", "choice", "1", 2, 3], "13 trains, [choice] leaves"),
        ("At 5 or at 5 pm", ["", "time", "5", 12, 13], "At 5 or at [time] pm"),
        ("Try Nandos", ["", "name", "Nandos", 400, 406], "Try [name]"),
    ],
)
def test_a_span_beside_its_value_is_moved_to_it(
    utterance: str, span: list[Any], mended: str
) -> None:
    told: list[str] = []
    assert delexicalise(utterance, [span], "d1, system turn 0", told.append) == mended
    assert told == ["d1, system turn 0"]


def test_a_span_on_its_value_is_not_told_of() -> None:
    told: list[str] = []
    spans = [["", "name", "Nandos", 4, 10], ["", "area", " east", 13, 18]]
    assert delexicalise("Try NANDOS in east.", spans, tell=told.append) == "Try [name] in[area]."
    assert not told


@pytest.mark.parametrize(
    ("span", "message"),
    [
        (["", "name", "Pizza Hut", 4, 10], "d1 has .*covers 'Nandos'.*is not in the utterance"),
        (["", "name", "", 4, 4], "is not in the utterance"),
        (["", "value-name", "Nandos", 4, 10], "no canonical name .did you mean value_name"),
        (["", "nmae", "Nandos", 4, 10], "no canonical name .did you mean name"),
    ],
)
def test_what_cannot_be_mended_is_refused(span: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        delexicalise("Try Nandos.", [span], "d1")
