"""Templates to sentences: the wording is drawn, the values are filled in, the spans are noted."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from trainable.corpus.cambridge.system_templates import Templates

REGISTERS = PLAIN, WARM, BRISK = 0, 1, 2  # columns of the templates: a user has one
ALTERNATIVES = re.compile(r"\{([^{}]*)\}")
SLOT = re.compile(r"\[(\w+)\]")


@dataclass(frozen=True)
class Span:
    """A value in an utterance: [start, end) in characters."""

    act: str
    slot: str
    value: str
    start: int
    end: int


@dataclass
class Utterance:
    text: str = ""
    spans: list[Span] = field(default_factory=list)
    acts: dict[str, list[list[str]]] = field(default_factory=dict)  # act -> (slot, value) pairs

    def add(self, glue: str, template: str, values: Mapping[str, str], act: str) -> None:
        """Appends the template with its values, and notes where they are."""
        self.text += glue if self.text else ""
        pairs = self.acts.setdefault(act, [])
        last = 0
        for match in SLOT.finditer(template):
            slot = match[1]
            self.text += template[last : match.start()]
            start = len(self.text)
            self.text += values[slot]
            self.spans.append(Span(act, slot, values[slot], start, len(self.text)))
            pairs.append([slot, values[slot]])
            last = match.end()
        self.text += template[last:]
        if not pairs:
            pairs.append(["none", "none"])


def word(rng: Random, templates: Templates, act: str, register: int) -> str:
    """The act's template in that register, with one of its wordings drawn."""
    return ALTERNATIVES.sub(lambda match: rng.choice(match[1].split("|")), templates[act][register])


def expand(template: str) -> list[str]:
    """
    >>> expand("{a|b} c")
    ['a c', 'b c']
    """
    match = ALTERNATIVES.search(template)
    if match is None:
        return [template]
    head, tail = template[: match.start()], template[match.end() :]
    return [surface for choice in match[1].split("|") for surface in expand(head + choice + tail)]
