"""Whether a system offered the right venues (Inform) and gave what was asked for (Success).

Source: evaluation spec, section 5.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainable.dialogue.database import Database
from trainable.dialogue.dialogue import State

Goal = Mapping[str, Mapping[str, Any]]
Outcome = dict[str, bool]  # goal domain or "total" -> reached or not

VENUES = frozenset({"restaurant", "hotel", "attraction"})
WITHOUT_DATABASE = frozenset({"taxi", "police", "hospital"})
REQUESTABLE = ("PHONE", "ADDRESS", "POST", "REFERENCE", "TRAINID")
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SystemTurn:
    """What a turn's score depends on."""

    response: str  # normalised
    state: State  # normalised
    active: Collection[str]  # domains the turn is about
    booked: Collection[str]  # domains booked at this turn


def judge(
    goal: Goal, turns: Sequence[SystemTurn], database: Database
) -> tuple[Outcome, Outcome | None]:
    """Inform and Success of one dialogue by goal domain and in `total`; Success is None where
    Inform in total fails."""
    inform = {}
    success = {}
    for domain, wanted in goal.items():
        active = [turn for turn in turns if domain in turn.active]
        inform[domain] = _is_matched(
            domain, wanted, _find_offers(domain, active, database), database
        )
        success[domain] = find_provided(domain, active) >= set(wanted["requestable"])
    inform["total"] = all(inform.values())
    success["total"] = all(success.values())
    return inform, success if inform["total"] else None


def is_named(domain: str, turn: SystemTurn) -> bool:
    """Whether the reply names a venue, or a train."""
    return ("TRAINID" if domain == "train" else "NAME") in turn.response


def _find_offers(domain: str, turns: Sequence[SystemTurn], database: Database) -> frozenset[str]:
    """Ids of the venues that the system may have meant when it last named one."""
    if domain not in VENUES and domain != "train":
        return _NOTHING
    offered = _NOTHING
    for turn in turns:
        if is_named(domain, turn):
            constraints = turn.state.get(domain)
            found = _NOTHING if constraints is None else database.query_set(domain, constraints)
            if not offered or not offered <= found:
                offered = found
    return offered


def find_provided(domain: str, turns: Sequence[SystemTurn]) -> set[str]:
    """The canonical slots that the system gave; a reference only where something was booked."""
    provided = set()
    for turn in turns:
        for slot in REQUESTABLE:
            if slot in turn.response and (slot != "REFERENCE" or domain in turn.booked):
                provided.add(slot)
    return provided


def _is_matched(
    domain: str, wanted: Mapping[str, Any], offered: frozenset[str], database: Database
) -> bool:
    if "name" in wanted["informable"] or domain in WITHOUT_DATABASE:
        return True
    if domain == "train" and not offered and "TRAINID" not in wanted["requestable"]:
        return True
    return bool(offered) and offered <= database.query_set(domain, wanted["informable"])
