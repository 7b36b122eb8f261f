from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trainable.corpus.delexicalise import delexicalise


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


@given(st.text(max_size=20), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20))))
def test_text_outside_spans_is_kept(text: str, pairs: list[tuple[int, int]]) -> None:
    spans = [["", "name", "x", *sorted(pair)] for pair in pairs if max(pair) <= len(text)]
    pieces = delexicalise(text, spans).split("[name]")
    position = 0
    for piece in pieces:
        found = text.find(piece, position)
        assert found >= 0
        position = found + len(piece)
