from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.dialogue.database import DONTCARE, Database
from trainable.dialogue.fuzzy import partial_ratio
from trainable.dialogue.values import count_minutes, normalise_value
from trainable.trial import ConfigError

RESTAURANTS = [
    {"id": "1", "name": "da nino", "food": "italian", "area": "north", "introduction": "old"},
    {"id": "2", "name": "curry garden", "food": "indian", "area": "north", "phone": "1"},
    {"id": "3", "name": "pane e vino", "food": "italian", "area": "?"},
]
TRAINS = [
    {"trainID": "TR1", "arriveBy": "09:30", "leaveAt": "09:00", "departure": "ely"},
    {"trainID": "TR2", "arriveBy": "10:30", "leaveAt": "10:00", "departure": "ely"},
]


@pytest.fixture
def database() -> Database:
    return Database({"restaurant": RESTAURANTS, "train": TRAINS})


@pytest.mark.parametrize(
    ("domain", "constraints", "ids"),
    [
        ("restaurant", {}, ("1", "2", "3")),
        ("restaurant", {"food": "Italain"}, ("1", "3")),
        ("restaurant", {"area": "south"}, ("3",)),  # a row's ? matches everything
        ("restaurant", {"area": "do n't care", "food": "indian"}, ("2",)),
        ("restaurant", {"name": "nino"}, ("1",)),
        ("restaurant", {"introduction": "new"}, ("1", "2", "3")),  # not a column that counts
        ("restaurant", {"phone": "2"}, ("1", "2", "3")),  # nor one the first row lacks
        ("restaurant", {"food": "thai"}, ()),
        ("train", {"arrive": "10:00"}, ("TR1",)),
        ("train", {"leave": "9:30"}, ("TR2",)),
        ("train", {"arriveby": "10:00"}, ("TR1",)),  # as MultiWOZ 2.2's states spell them
        ("train", {"leaveat": "9:30", "departure": "ely"}, ("TR2",)),
        ("train", {"leave": "whenever"}, ("TR1", "TR2")),
        ("train", {"trainid": "TR2"}, ("TR2",)),
        ("train", {"id": "TR2"}, ("TR1", "TR2")),
        ("taxi", {}, ()),
        ("hotel", {}, ()),
    ],
)
def test_answers(
    database: Database, domain: str, constraints: dict[str, str], ids: tuple[str, ...]
) -> None:
    assert database.query(domain, constraints) == ids
    assert database.query_set(domain, constraints) == set(ids)


def is_match(row: dict[str, Any], key: str, value: str) -> bool:
    """The spec's rule for one row and one constraint, word for word."""
    if value in DONTCARE or row[key] == "?":
        return True
    wanted = normalise_value(key, value)
    if key == "arrive":
        return count_minutes(row[key]) <= count_minutes(wanted)
    if key == "leave":
        return count_minutes(row[key]) >= count_minutes(wanted)
    if key in {"name", "food"}:
        return partial_ratio(row[key], wanted) >= 90
    return bool(row[key] == wanted)


CELLS = {
    "name": ["da nino", "nino", "curry garden", "yu garden", "?"],
    "food": ["italian", "indian", "portuguese", "?"],
    "area": ["north", "south", "?"],
}
ROWS = st.lists(
    st.fixed_dictionaries({k: st.sampled_from(v) for k, v in CELLS.items()}), min_size=1
)
ASKED = st.fixed_dictionaries(
    {}, optional={k: st.sampled_from([*v, "dontcare", "brazilian"]) for k, v in CELLS.items()}
)


@given(ROWS, ASKED)
def test_the_index_answers_as_a_scan_of_all_rows(
    rows: list[dict[str, str]], constraints: dict[str, str]
) -> None:
    table = [{**row, "id": str(number)} for number, row in enumerate(rows)]
    scanned = tuple(
        row["id"] for row in table if all(is_match(row, *item) for item in constraints.items())
    )
    assert Database({"restaurant": table}).query("restaurant", constraints) == scanned


def test_a_missing_file_is_named(small_folder: Path) -> None:
    (small_folder / "db" / "hotel_db.json").unlink()
    with pytest.raises(ConfigError, match=r"hotel_db\.json"):
        Database.read(small_folder / "db")


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(ConfigError, match="hotel must have rows"):
        Database({"hotel": []})
