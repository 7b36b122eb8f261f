from __future__ import annotations

from trainable.dialogue.dialogue import State
from trainable.evaluation.states import estimate_domains, normalise_state


def test_slot_names_and_values_are_normalised_and_the_input_is_not_changed() -> None:
    state = {"train": {"Arrive By": "5 pm", "leaveAt": "noon"}, "hotel": {"parking": "free"}}
    assert normalise_state(state) == {
        "train": {"arrive": "17:00", "leave": "12:00"},
        "hotel": {"parking": "yes"},
    }
    assert state["train"]["Arrive By"] == "5 pm"


def test_nothing_is_active_before_the_first_constraint() -> None:
    assert estimate_domains([{}, {"hotel": {}}]) == [(), ()]


def test_the_domain_that_changed_is_active_and_stays_so() -> None:
    hotel: State = {"hotel": {"area": "north"}}
    both: State = {**hotel, "train": {"day": "monday"}}
    assert estimate_domains([hotel, hotel, both, both]) == [
        ("hotel",),
        ("hotel",),
        ("train",),
        ("train",),
    ]


def test_of_several_changed_domains_the_fullest_comes_first_then_the_other() -> None:
    state: State = {"hotel": {"area": "north"}, "train": {"day": "monday", "people": "2"}}
    assert estimate_domains([state, state, state]) == [("train",), ("hotel",), ("hotel",)]


def test_ties_go_to_the_first_domain() -> None:
    assert estimate_domains([{"taxi": {"a": "1"}, "hotel": {"b": "2"}}]) == [("taxi",)]


def test_a_current_domain_that_changed_too_is_kept() -> None:
    first: State = {"hotel": {"area": "north"}}
    second: State = {"hotel": {"area": "south"}, "train": {"day": "monday", "people": "2"}}
    assert estimate_domains([first, second]) == [("hotel",), ("hotel",)]


def test_dropping_a_slot_is_no_change() -> None:
    states: list[State] = [{"hotel": {"area": "north"}, "taxi": {}}, {"taxi": {}}]
    assert estimate_domains(states) == [("hotel",), ("hotel",)]
