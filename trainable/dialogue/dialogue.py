"""The nouns of the data: frozen dialogues, whatever file they came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

State = Mapping[str, Mapping[str, str]]  # domain -> slot -> value
Requests = Mapping[str, Sequence[str]]  # domain -> slots


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One exchange: what the user said and what the system answered."""

    user: str
    response: str  # the system's utterance, lexicalised
    delexicalised: str  # the same with every annotated span as [slot], as the corpus spells slots
    state: State  # gold belief state after the user's utterance
    booked: tuple[str, ...]  # domains with something booked by this turn
    requested: Requests = field(default_factory=dict)  # what the user asks to be told
    acts: str = ""  # what the system does, in one line (corpus/acts.py); empty if not annotated


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialogue:
    """Its turns in order, and what its user is after."""

    id: str  # lower case, without .json
    turns: tuple[Turn, ...]
    # domain -> {"informable": {slot: value}, "requestable": [canonical slot]}; empty if unknown
    goal: Mapping[str, Mapping[str, Any]]
    system: str = ""  # a system message of its own, in front of all turns

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains of the goal, sorted."""
        return tuple(sorted(self.goal))
