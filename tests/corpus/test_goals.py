from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from trainable.corpus.goals import derive_booked, derive_goal, infer_booked, shorten_id
from trainable.corpus.load import load_corpus
from trainable.dialogue.dialogue import State, Turn

GOAL_21: dict[str, Any] = {
    "taxi": {},
    "police": {},
    "hospital": {},
    "hotel": {},
    "attraction": {"info": {"type": "mutliple sports"}, "reqt": ["phone", "entrance fee"]},
    "train": {
        "info": {"leaveAt": "9:30", "day": "monday"},
        "reqt": ["trainID", "duration"],
        "book": {"invalid": False, "people": "1"},
        "fail_info": {},
    },
    "restaurant": {"info": {}, "reqt": ["postcode"], "book": {}},
    "message": ["You want a train"],
    "topic": {"taxi": False},
}


def booked(*domains: str) -> dict[str, Any]:
    names = ("restaurant", "hotel", "taxi", "attraction")
    return {
        name: {"book": {"booked": [{"reference": "X"}] if name in domains else []}, "semi": {}}
        for name in names
    }


LOG = [
    {"text": "hi", "metadata": {}},
    {"text": "yes?", "metadata": booked()},
    {"text": "a table and a taxi", "metadata": {}},
    {"text": "done", "metadata": booked("restaurant", "taxi")},
]


def test_a_goal_of_2_1_in_the_evaluations_terms() -> None:
    assert derive_goal(GOAL_21) == {
        "restaurant": {"informable": {}, "requestable": ["POST"]},
        "attraction": {"informable": {"type": "multiple sports"}, "requestable": ["PHONE"]},
        "train": {
            "informable": {"leave": "09:30", "day": "monday"},
            "requestable": ["REFERENCE", "TRAINID"],
        },
    }


def test_bookings_of_2_1_by_system_turn() -> None:
    assert derive_booked(LOG) == [[], ["restaurant"]]


def test_bookings_that_nobody_noted_are_read_off_the_references_given() -> None:
    said: list[tuple[str, State]] = [
        ("your [ref] first", {}),  # of nothing that this dialogue knows
        ("shall i book it?", {"train": {"day": "monday"}, "attraction": {"area": "west"}}),
        ("done, [ref]", {"train": {"day": "monday"}, "attraction": {"area": "east"}}),
        ("both? [hotel_reference]", {"train": {"day": "friday"}, "hotel": {"bookday": "friday"}}),
        ("again: [ref]", {"train": {"day": "friday"}, "hotel": {"bookday": "friday"}}),
    ]
    turns = [
        Turn(user="", response="", delexicalised=text, state=state, booked=())
        for text, state in said
    ]
    both = ["hotel", "train"]
    assert infer_booked(turns) == [[], [], ["train"], both, both]


def test_inferred_bookings_are_nearly_those_noted(multiwoz_folder: Path) -> None:
    dialogues = load_corpus(str(multiwoz_folder)).get_split("validation")
    pairs = [
        (sorted(turn.booked), inferred)
        for dialogue in dialogues
        for turn, inferred in zip(dialogue.turns, infer_booked(dialogue.turns), strict=True)
    ]
    assert sum(noted == inferred for noted, inferred in pairs) > 0.98 * len(pairs)


def test_derived_goals_equal_mwzevals(multiwoz_folder: Path) -> None:
    old = json.loads((multiwoz_folder / "goals_2.1.json").read_text())
    wanted = json.loads((multiwoz_folder / "goals.json").read_text())
    n_compared = 0
    for name, goal in old.items():
        if (short := shorten_id(name)) not in wanted:
            continue
        n_compared += 1
        derived = derive_goal(goal)
        assert derived.keys() == wanted[short].keys()
        for domain, parts in derived.items():
            assert parts["informable"] == wanted[short][domain]["informable"]
            assert set(parts["requestable"]) == set(wanted[short][domain]["requestable"])
    assert n_compared > 2000


def test_goals_and_bookings_come_from_2_1s_archive(small_folder: Path, own_cache: Path) -> None:
    for name in ("goals.json", "booked_domains.json"):
        (small_folder / name).unlink()
    names = ["SNG01.json", "SNG02.json", "SNG03.json", "SNG04.json", "PMUL05.json"]
    data = {name: {"goal": GOAL_21, "log": LOG} for name in names}
    (small_folder / "data").mkdir()
    with zipfile.ZipFile(small_folder / "data" / "MultiWOZ_2.1.zip", "w") as archive:
        archive.writestr("MultiWOZ_2.1/readme.json", "{}")
        archive.writestr("MultiWOZ_2.1/data.json", json.dumps(data))
    dialogue = load_corpus(str(small_folder)).splits["test"][0]
    assert dialogue.goal == derive_goal(GOAL_21)
    assert [turn.booked for turn in dialogue.turns] == [(), ("restaurant",)]


def test_goals_alone_may_come_from_2_1(small_folder: Path, own_cache: Path) -> None:
    (small_folder / "goals.json").unlink()
    (small_folder / "goals_2.1.json").write_text(json.dumps({"SNG04.json": GOAL_21}))
    corpus = load_corpus(str(small_folder))
    assert corpus.splits["test"][0].domains == ("attraction", "restaurant", "train")
    assert corpus.splits["test"][1].goal == {}
