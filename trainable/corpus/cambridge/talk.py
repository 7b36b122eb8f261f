"""A dialogue in the making: who said what, the state after it, and what is booked."""

from copy import deepcopy
from dataclasses import dataclass, field
from random import Random

from trainable.corpus.cambridge.system_templates import SYSTEM
from trainable.corpus.cambridge.user_templates import USER
from trainable.corpus.cambridge.venues import Row, Tables
from trainable.corpus.cambridge.wording import Utterance, word

Part = tuple[str, dict[str, str]]  # a template's act and the values that it takes


@dataclass
class Exchange:
    domain: str
    user: Utterance
    system: Utterance
    state: dict[str, dict[str, str]]  # after the user's utterance
    booked: list[str]  # domains booked so far, this turn included


@dataclass
class Talk:
    """A dialogue in the making."""

    rng: Random
    tables: Tables
    register: int  # the user's
    replies: tuple[int, ...]  # registers that the system draws from, turn by turn
    state: dict[str, dict[str, str]] = field(default_factory=dict)
    booked: set[str] = field(default_factory=set)
    exchanges: list[Exchange] = field(default_factory=list)
    domain: str = ""
    offers: list[Row] = field(default_factory=list)  # the last row offered of each domain

    def user(self, *parts: Part, act: str = "", glue: str = " ") -> Utterance:
        """What the user says: (template, values) for each part. Values enter the state."""
        utterance = Utterance()
        for name, values in parts:
            kind = "Request" if name.startswith("ask") else "Inform"
            label = act or f"{self.domain.capitalize()}-{kind}"
            utterance.add(glue, word(self.rng, USER, name, self.register), values, label)
            self.state.setdefault(self.domain, {}).update(values)
        return utterance

    def system(self, *parts: Part) -> Utterance:
        utterance = Utterance()
        register = self.rng.choice(self.replies)
        for name, values in parts:
            text = word(self.rng, SYSTEM, name, register)
            utterance.add(" ", text, values, name_act(name, self.domain))
        return utterance

    def exchange(self, user: Utterance, *parts: Part) -> None:
        self.exchanges.append(
            Exchange(
                domain=self.domain,
                user=user,
                system=self.system(*parts),
                state=deepcopy(self.state),
                booked=sorted(self.booked),
            )
        )


def name_act(name: str, domain: str) -> str:
    """MultiWOZ's name of the dialogue act that a system template performs."""
    if name in ("more", "bye"):
        return {"more": "general-reqmore", "bye": "general-bye"}[name]
    kinds = {"request": "Request", "book": "Request", "none": "NoOffer", "failed": "NoBook"}
    kinds |= {"booked": "Book"}
    kind = next((kinds[part] for part in name.split(".") if part in kinds), "Inform")
    return f"{'Booking' if kind in ('Book', 'NoBook') else domain.capitalize()}-{kind}"
