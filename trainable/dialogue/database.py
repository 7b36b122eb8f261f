"""The venues and trains that a state's constraints leave.

Source: evaluation spec, section 3.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainable.dialogue.fuzzy import is_similar
from trainable.dialogue.values import count_minutes, normalise_slot, normalise_value
from trainable.trial import ConfigError

DOMAINS = ("restaurant", "hotel", "attraction", "train")
_IGNORED = {
    "attraction": {"location", "openhours"},
    "hotel": {"location", "price", "takesbookings"},
    "restaurant": {"location", "introduction", "signature"},
}
_FUZZY = {
    "hotel": {"name"},
    "attraction": {"name"},
    "restaurant": {"name", "food"},
    "train": {"departure", "destination"},
}
_FUZZY_RATIO = 90
DONTCARE = frozenset(
    {"dontcare", "not mentioned", "don't care", "dont care", "do n't care", "do not care"}
)

Row = Mapping[str, Any]
Answer = tuple[tuple[str, ...], frozenset[str]]  # row ids in the table's order, and as a set


class Database:
    """Rows by domain, with the answers to one column's constraint remembered for good: a state's
    answer is the intersection of a few remembered sets."""

    def __init__(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """`rows`: domain -> rows as the corpus publishes them. Raises ConfigError without rows."""
        self._tables = {
            domain: _Table(domain, rows[domain]) for domain in DOMAINS if domain in rows
        }

    @classmethod
    def read(cls, folder: Path) -> Database:
        """From `folder`/{restaurant,hotel,attraction,train}_db.json."""
        return cls(read_rows(folder))

    def query(self, domain: str, constraints: Mapping[str, str]) -> tuple[str, ...]:
        """Ids of the rows that match all constraints, in the database's order; of a domain
        without a table, none."""
        table = self._tables.get(domain)
        return table.query(constraints)[0] if table else ()

    def query_set(self, domain: str, constraints: Mapping[str, str]) -> frozenset[str]:
        """The same ids as a set, ready for comparisons."""
        table = self._tables.get(domain)
        return table.query(constraints)[1] if table else frozenset()


class _Table:
    def __init__(self, domain: str, rows: Sequence[Row]) -> None:
        if not rows:
            raise ConfigError(f"the database of {domain} must have rows, not none: see db/")
        ignored = _IGNORED.get(domain, set())
        self._domain = domain
        self._rows = [
            {normalise_slot(name): value for name, value in row.items() if name not in ignored}
            for row in rows
        ]
        key = "trainid" if domain == "train" else "id"
        if not all(key in row for row in self._rows):
            raise ConfigError(f"every row of the database of {domain} needs its {key}: see db/")
        self._ids = [str(row[key]) for row in self._rows]
        self._keys = frozenset(self._rows[0])  # the spec: those of the first row
        self._columns: dict[str, Mapping[Any, Collection[int]]] = {}
        self._matches: dict[tuple[str, str], frozenset[int]] = {}
        self._answers: dict[frozenset[tuple[str, str]], Answer] = {}

    def query(self, constraints: Mapping[str, str]) -> Answer:
        named = ((normalise_slot(slot), value) for slot, value in constraints.items())
        wanted = frozenset(
            (key, value) for key, value in named if key in self._keys and value not in DONTCARE
        )
        if wanted not in self._answers:
            matches = [self._match(key, value) for key, value in wanted]
            left = sorted(frozenset.intersection(*matches)) if matches else range(len(self._rows))
            ids = tuple(self._ids[number] for number in left)
            self._answers[wanted] = ids, frozenset(ids)
        return self._answers[wanted]

    def _match(self, key: str, value: str) -> frozenset[int]:
        """The numbers of the rows that one constraint leaves."""
        if (key, value) not in self._matches:
            accepts = self._build_test(key, normalise_value(key, value))
            cells = self._index(key)
            left = (rows for cell, rows in cells.items() if cell == "?" or accepts(cell))
            self._matches[key, value] = frozenset[int]().union(*left)
        return self._matches[key, value]

    def _index(self, key: str) -> Mapping[Any, Collection[int]]:
        """The column's distinct cells with their rows' numbers; a cell that is not there is `?`."""
        if key not in self._columns:
            cells: dict[Any, list[int]] = defaultdict(list)
            for number, row in enumerate(self._rows):
                cells[row.get(key, "?")].append(number)
            self._columns[key] = cells
        return self._columns[key]

    def _build_test(self, key: str, wanted: str) -> Callable[[Any], bool]:
        """A predicate on the column's cells."""
        minutes = count_minutes(wanted)
        if key == "arrive":
            return lambda cell: count_minutes(cell) <= minutes
        if key == "leave":
            return lambda cell: count_minutes(cell) >= minutes
        if key in _FUZZY[self._domain]:
            return lambda cell: is_similar(cell, wanted, _FUZZY_RATIO)
        return lambda cell: cell == wanted


def read_rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The databases' rows as published, by domain. Raises ConfigError where a file is missing."""
    rows = {}
    for domain in DOMAINS:
        path = folder / f"{domain}_db.json"
        try:
            rows[domain] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"a corpus needs the databases of {', '.join(DOMAINS)}, and {path} "
                f"cannot be read ({error}): put MultiWOZ's db/ folder there"
            ) from error
    return rows
