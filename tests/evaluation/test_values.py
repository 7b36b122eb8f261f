from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.dialogue.values import count_minutes, normalise_value


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("Lunch", "12:00"),
        ("one o'clock p.m. sharp", "13:00"),
        ("by 5:15", "05:15"),
        ("after 5 pm", "17:00"),
        ("afer 10:30", "10:30"),
        ("9:05 a.m.", "09:05"),
        ("9 am", "09:00"),
        ("12:15 p.m.", "24:15"),
        ("", "00:00"),
        ("1715", "17:15"),
        ("7", "07:00"),
        ("10 : 45", "10:45"),
        ("8:30?", "08:30"),
        ("teatime", "teatime"),
        ("half past pm", "half past"),
        ("+5:30 pm", "17:30"),  # as Python's int() reads hours
        ("1_0:30 pm", "22:30"),
        ("+5 pm", "+5"),
        ("a:30 pm", "0a:30"),
        ("5:30:10 pm", "5:30:10"),
    ],
)
def test_times(value: str, time: str) -> None:
    assert normalise_value("leave", value) == time


@pytest.mark.parametrize(
    ("slot", "value", "wanted"),
    [
        ("name", " Hotel du Vin & Bistro ", "hotel du vin and bistro"),
        ("name", "rosa 's", "rosas bed and breakfast"),
        ("destination", "The Junction", "junction theatre"),
        ("name", "a&b", "a and b"),
        ("type", "guest house", "guesthouse"),
        ("type", "Guest House", "Guest House"),
        ("food", " Portugese", "portuguese"),
        ("parking", "free", "yes"),
        ("area", " Free ", " Free "),
    ],
)
def test_values_by_slot(slot: str, value: str, wanted: str) -> None:
    assert normalise_value(slot, value) == wanted


@pytest.mark.parametrize(
    ("time", "minutes"),
    [
        ("09:30", 570),
        ("24:15", 1455),
        ("9:30", 0),
        ("", 0),
        ("17:30 or so", 1050),
        ("17:00５", 1025),
    ],
)
def test_minutes(time: str, minutes: int) -> None:
    assert count_minutes(time) == minutes


SLOTS = st.sampled_from(["name", "food", "type", "arrive", "leave", "area", "internet"])
WORDS = st.lists(st.sampled_from(["lime", "house", "the", "junction", "sea", "food"]), min_size=1)
CLOCKS = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))


@given(SLOTS, st.one_of(WORDS.map(" ".join), CLOCKS, st.sampled_from(["5 pm", "noon", "9:15"])))
def test_normalising_twice_changes_nothing(slot: str, value: str) -> None:
    once = normalise_value(slot, value)
    assert normalise_value(slot, once) == once


@given(SLOTS, st.text(max_size=12))
def test_no_value_is_an_error(slot: str, value: str) -> None:
    assert isinstance(normalise_value(slot, value), str)
