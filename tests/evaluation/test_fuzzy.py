from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from trainable.dialogue.fuzzy import is_similar, partial_ratio


# Recorded from fuzzywuzzy 0.18.0 with python-Levenshtein 0.27.5, on names of the real database.
@pytest.mark.parametrize(
    ("one", "other", "percent"),
    [
        ("la tasca", "la tasce", 88),
        ("ask restaurant", "anatolia restaurant", 86),
        ("yu garden", "curry garden", 89),
        ("bridge guest house", "arbury lodge guesthouse", 80),
        ("alexander bed and breakfast", "rosas bed and breakfast", 83),
        ("shiraz restaurant", "pipasha restaurant", 82),
        ("restaurant two two", "j restaurant", 83),
        ("korean", "singaporean", 83),
        ("city centre north b and b", "city centre north b and b", 100),
        ("cambridge", "cambridge belfry", 100),
        ("", "", 100),
        ("", "x", 0),
    ],
)
def test_equals_fuzzywuzzy(one: str, other: str, percent: int) -> None:
    assert partial_ratio(one, other) == percent


def test_rapidfuzz_alone_would_let_other_venues_match() -> None:
    assert (
        fuzz.partial_ratio("yu garden", "curry garden")
        >= 90
        > partial_ratio("yu garden", "curry garden")
    )


LETTERS = st.text("ab c", max_size=12)


@given(LETTERS, LETTERS, st.sampled_from([80, 90, 96]))
def test_the_shortcut_never_decides_otherwise(one: str, other: str, percent: int) -> None:
    assert is_similar(one, other, percent) == (partial_ratio(one, other) >= percent)
