"""What a system does in a turn, as a line of its plan."""

from __future__ import annotations

from typing import Any

import pytest

from trainable.corpus import sgd
from trainable.corpus.acts import list_acts, spell_acts

SPELLINGS = {
    **{"Addr": "address", "Post": "postcode", "Fee": "entrancefee", "Ticket": "price"},
    **{"Id": "trainid", "id": "id", "Car": "type", "car": "car", "price": "pricerange"},
    **{"Leave": "leaveat", "Arrive": "arriveby", "Depart": "departure", "Dest": "destination"},
    **{"Day": "bookday", "day": "day", "Time": "duration", "time": "booktime", "time ": "time "},
    **{"People": "bookpeople", "Stay": "bookstay", "Open": "openhours", "pricerange": "pricerange"},
}


@pytest.mark.parametrize(("slot", "placeholder"), SPELLINGS.items())
def test_a_slot_is_spelt_as_the_reply_s_placeholder(slot: str, placeholder: str) -> None:
    acts = list_acts({"Train-Inform": [[slot, "a"], [slot, "b"]]})
    assert spell_acts(acts, f"it is [{placeholder}]") == f"train inform [{placeholder}]"


@pytest.mark.parametrize(
    ("annotation", "line"),
    [
        ({"Hotel-Request": [["Area", "?"]]}, "hotel request area"),
        ({"Train-OfferBook": [["none", "none"]]}, "train offerbook"),
        ({"Hotel-Offer-More": [["Area", "west"]]}, "hotel offer-more [area]"),
        ("No Annotation", ""),
        (None, ""),
        ({"general-bye": None, "general-greet": [[]]}, "general bye ; general greet"),
    ],
)
def test_what_is_asked_for_has_no_brackets_and_what_is_no_act_is_left_out(
    annotation: Any, line: str
) -> None:
    assert spell_acts(list_acts(annotation), "which [area] ?") == line


def test_the_hub_s_classes_are_in_alphabetical_order() -> None:
    names = [*sgd.ACTS.values()]
    assert names == sorted(names) and len(names) == 18 and sgd.ACTS[13] == "REQUEST"


def test_states_in_columns_of_either_name() -> None:
    (cities, values) = (["city"], [["Rome"]])
    for found in (
        {"slot_name": cities, "slot_value_list": values},
        {"slot": cities, "value_list": values},
        [{"slot": "city", "value_list": ["Rome"]}],
        {"city": ["Rome"]},
    ):
        frames = [{"service": "Hotels_1", "state": {"slot_values": found}}]
        assert sgd.read_state(frames) == {"hotels": {"city": "Rome"}}
