"""What each dialogue's user was asked to achieve, and what was booked when.

From `goals.json` and `booked_domains.json` (mwzeval's format) where a folder has them, else from
MultiWOZ 2.1's `data.json` (or `goals_2.1.json`, its goals alone): MultiWOZ 2.2 publishes neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.corpus.files import expect_fields, read_json
from trainable.dialogue.dialogue import State, Turn
from trainable.dialogue.slots import CANONICAL, PLACEHOLDER
from trainable.dialogue.values import normalise_slot, normalise_value
from trainable.trial import ConfigError

DOMAINS = ("restaurant", "hotel", "attraction", "train", "taxi", "police", "hospital")
BOOKABLE = ("restaurant", "hotel", "train")
# what a user can ask for and the evaluation counts, as MultiWOZ 2.1 spells it
_REQUESTABLE = {
    "phone": "PHONE",
    "address": "ADDRESS",
    "postcode": "POST",
    "trainid": "TRAINID",
    "id": "TRAINID",
}
ARCHIVE = Path("data/MultiWOZ_2.1.zip")  # where the official repository keeps data.json


@dataclass(frozen=True, kw_only=True)
class Aims:
    """By dialogue id (lower case, without .json)."""

    goals: Mapping[str, dict[str, Any]]
    booked: Mapping[str, list[list[str]]]  # per system turn


def find_aims(folder: Path) -> list[Path]:
    """The files that `read_aims` reads, goals first. Raises ConfigError where one is missing."""
    paths = locate_aims(folder)
    if missing := [p.name for p in paths if not p.is_file()]:
        raise ConfigError(
            f"a corpus needs {' and '.join(missing)}, or MultiWOZ 2.1's data.json to take it from, "
            f"and {folder} has none: put one there"
        )
    return paths


def locate_aims(folder: Path) -> list[Path]:
    """Where goals and bookings are, or should be."""
    goals = _find_first(folder, "goals.json", "data.json", "goals_2.1.json", str(ARCHIVE))
    booked = _find_first(folder, "booked_domains.json", "data.json", str(ARCHIVE))
    return list(dict.fromkeys((goals, booked)))


def _find_first(folder: Path, *names: str) -> Path:
    """The first of these that is there, else the first."""
    return next((folder / n for n in names if (folder / n).is_file()), folder / names[0])


def read_aims(paths: list[Path]) -> Aims:
    """Goals and bookings from the files that `find_aims` found."""
    contents = {path: read_json(path) for path in paths}
    goals, booked = contents[paths[0]], contents[paths[-1]]
    with expect_fields(f"goals and bookings of {paths[0].parent}"):
        return _derive_aims(paths, goals, booked)


def _derive_aims(paths: list[Path], goals: Any, booked: Any) -> Aims:
    goals = {shorten_id(name): entry for name, entry in goals.items()}
    booked = {shorten_id(name): entry for name, entry in booked.items()}
    if paths[0].name != "goals.json":  # data.json keeps the log beside it, goals_2.1.json it alone
        goals = {n: derive_goal(e["goal"] if "log" in e else e) for n, e in goals.items()}
    if paths[-1].name != "booked_domains.json":
        booked = {name: derive_booked(entry["log"]) for name, entry in booked.items()}
    return Aims(goals=goals, booked=booked)


def shorten_id(name: str) -> str:
    """
    >>> shorten_id("SNG0073.json")
    'sng0073'
    """
    return name.split(".")[0].lower()


def derive_goal(goal: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A goal of MultiWOZ 2.1 in the evaluation's terms: constraints normalised, and of the
    requests those that the evaluation counts; a booking asks for a reference."""
    return {
        domain: {
            "informable": dict(map(_normalise, *zip(*goal[domain]["info"].items(), strict=True)))
            if goal[domain].get("info")
            else {},
            "requestable": _find_requests(goal[domain]),
        }
        for domain in DOMAINS
        if goal.get(domain)
    }


def _normalise(name: str, value: str) -> tuple[str, str]:
    slot = normalise_slot(name)
    return slot, normalise_value(slot, value)


def _find_requests(wanted: Mapping[str, Any]) -> list[str]:
    asked = [_REQUESTABLE.get(slot.lower()) for slot in wanted.get("reqt", [])]
    found = {slot for slot in asked if slot} | ({"REFERENCE"} if wanted.get("book") else set())
    return sorted(found)


def infer_booked(turns: Sequence[Turn]) -> list[list[str]]:
    """Per turn the domains with something booked by then, of a dialogue whose bookings nobody
    noted: a reply with a reference number books the domain whose state changed last. Of the turns
    of MultiWOZ's validation and test splits, whose bookings are noted, 99 % have the same so."""
    booked: set[str] = set()
    found = []
    latest = ""
    before: State = {}
    for turn in turns:
        changed = [domain for domain in BOOKABLE if turn.state.get(domain) != before.get(domain)]
        latest = max(changed, key=lambda domain: _has_booking(turn.state, domain), default=latest)
        if latest and _gives_reference(turn):
            booked.add(latest)
        found.append(sorted(booked))
        before = turn.state
    return found


def _gives_reference(turn: Turn) -> bool:
    slots = PLACEHOLDER.findall(turn.delexicalised)
    return any(CANONICAL.get(slot.lower()) == "REFERENCE" for slot in slots)


def _has_booking(state: State, domain: str) -> bool:
    """Whether the user said for when, or for how many."""
    return any(slot.startswith("book") for slot in state.get(domain, {}))


def derive_booked(log: list[Mapping[str, Any]]) -> list[list[str]]:
    """Per system turn of MultiWOZ 2.1's log, the domains with something booked by then. (A taxi
    has no reference number, so that its bookings do not count.)"""
    return [
        sorted(
            domain
            for domain, state in turn.get("metadata", {}).items()
            if domain != "taxi" and state.get("book", {}).get("booked")
        )
        for turn in log[1::2]
    ]
