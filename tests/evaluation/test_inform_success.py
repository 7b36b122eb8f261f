from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.dialogue.database import Database
from trainable.evaluation.inform_success import SystemTurn, judge

DATABASE = Database(
    {
        "restaurant": [
            {"id": "1", "name": "da nino", "food": "italian", "area": "north"},
            {"id": "2", "name": "curry garden", "food": "indian", "area": "north"},
            {"id": "3", "name": "pane e vino", "food": "italian", "area": "south"},
        ],
        "train": [{"trainID": "TR1", "day": "monday"}, {"trainID": "TR2", "day": "tuesday"}],
    }
)
ITALIAN = {"restaurant": {"food": "italian"}}
INDIAN = {"restaurant": {"food": "indian"}}
NORTH_ITALIAN = {"restaurant": {"food": "italian", "area": "north"}}


def goal(domain: str = "restaurant", *requests: str, **informable: str) -> dict[str, Any]:
    return {domain: {"informable": informable, "requestable": list(requests)}}


def say(
    response: str, state: Any = ITALIAN, domain: str = "restaurant", booked: bool = False
) -> SystemTurn:
    return SystemTurn(response, state, [domain], [domain] if booked else [])


def reach(aim: dict[str, Any], *turns: SystemTurn) -> tuple[bool, bool]:
    inform, success = judge(aim, turns, DATABASE)
    return inform["total"], bool(success and success["total"])


@pytest.mark.parametrize(
    ("turns", "is_informed"),
    [
        ([], False),
        ([say("nothing named")], False),
        ([say("try NAME")], True),
        ([say("try NAME", NORTH_ITALIAN)], True),
        ([say("try NAME", INDIAN)], False),
        ([say("try NAME", {})], False),
        ([say("try NAME", {"restaurant": {}})], False),  # offers them all, wrong ones too
        ([say("try NAME", INDIAN), say("or NAME")], True),  # the last offer counts
        ([say("try NAME"), say("or NAME", INDIAN)], False),
        ([say("try NAME", NORTH_ITALIAN), say("or NAME", {"restaurant": {}})], True),  # kept
        ([say("try NAME", domain="hotel")], False),
        ([say("take TRAINID")], False),
    ],
)
def test_inform(turns: list[SystemTurn], is_informed: bool) -> None:
    assert reach(goal(food="italian"), *turns)[0] is is_informed


def test_a_goal_that_names_the_venue_is_matched_outright() -> None:
    assert reach(goal(name="da nino", food="italian"), say("no")) == (True, True)


@pytest.mark.parametrize("domain", ["taxi", "police", "hospital"])
def test_domains_without_venues_are_matched_outright(domain: str) -> None:
    assert reach(goal(domain, "PHONE"), say("PHONE", {}, domain)) == (True, True)
    assert reach(goal(domain, "PHONE"), say("no", {}, domain)) == (True, False)


def test_a_train_may_stay_unnamed_unless_its_number_was_asked_for() -> None:
    train = {"train": {"day": "monday"}}
    assert reach(goal("train", day="monday"), say("ok", train, "train"))[0]
    assert not reach(goal("train", "TRAINID", day="monday"), say("ok", train, "train"))[0]
    assert reach(goal("train", "TRAINID", day="monday"), say("TRAINID", train, "train"))[1]
    wrong = {"train": {"day": "tuesday"}}
    assert not reach(goal("train", day="monday"), say("TRAINID", wrong, "train"))[0]


def test_success_needs_every_request_and_a_reference_needs_a_booking() -> None:
    aim = goal("restaurant", "PHONE", "REFERENCE", food="italian")
    offer = say("NAME, call PHONE")
    assert not reach(aim, offer)[1]
    assert not reach(aim, offer, say("REFERENCE"))[1]
    assert reach(aim, offer, say("REFERENCE", booked=True)) == (True, True)


def test_success_is_none_where_inform_fails() -> None:
    assert judge(goal(food="italian"), [say("PHONE")], DATABASE)[1] is None


RESPONSES = st.sampled_from(["NAME", "PHONE", "TRAINID", "REFERENCE at NAME", "fine"])
STATES = st.sampled_from(
    [{}, ITALIAN, INDIAN, NORTH_ITALIAN, {"train": {"day": "monday"}, **ITALIAN}]
)
TURNS = st.builds(
    SystemTurn,
    RESPONSES,
    STATES,
    st.sampled_from([[], ["restaurant"], ["train"]]),
    st.sampled_from([[], ["restaurant"]]),
)
GOALS = st.sampled_from(
    [
        goal(food="italian"),
        goal("restaurant", "PHONE", "REFERENCE", food="indian"),
        {**goal(food="italian"), **goal("train", "TRAINID", day="monday")},
    ]
)


@given(GOALS, st.lists(TURNS, min_size=1, max_size=5), st.data())
def test_a_turn_said_twice_cannot_raise_inform(
    aim: dict[str, Any], turns: list[SystemTurn], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(turns) - 1))
    doubled = [*turns[: place + 1], *turns[place:]]
    assert judge(aim, doubled, DATABASE)[0] == judge(aim, turns, DATABASE)[0]
