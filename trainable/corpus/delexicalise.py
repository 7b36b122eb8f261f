"""System utterances with their annotated spans as [slot].

Source: evaluation spec, section 6: the spans are `span_info` of `dialog_acts.json` (MultiWOZ 2.2).
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from trainable.dialogue.slots import CANONICAL, find_slot, is_known
from trainable.trial import ConfigError, nearest

Span = Sequence[Any]  # [act, slot name, value, start, end), in characters


def delexicalise(
    utterance: str,
    spans: Sequence[Span],
    place: str = "an utterance",
    tell: Callable[[str], None] = lambda place: None,
) -> str:
    """The utterance with spans as [slot], in the corpus's spelling of slots; a span that starts
    inside an earlier one, or whose value is `dontcare`, stays as it is. A span that does not cover
    its value is moved to where that stands, and `tell` is called with `place`, which is for
    messages too. Raises ConfigError on a slot without a canonical name, a span that is none, or a
    value that is not in the utterance.

    >>> delexicalise("Try Nandos.", [["inform", "name", "Nandos", 4, 10]])
    'Try [name].'
    """
    for span in spans:
        _check_span(span, place)
    meant = [span for span in spans if span[2] != "dontcare"]
    settled = [_settle(utterance, span, place) for span in meant]
    pieces = []
    end_before = 0
    for slot, start, end, is_moved in sorted(settled, key=lambda found: found[1]):
        if start < end_before:
            continue
        pieces += [utterance[end_before:start], f"[{slot}]"]
        end_before = end
        if is_moved:
            tell(place)
    return "".join(pieces) + utterance[end_before:]


def _settle(utterance: str, span: Span, place: str) -> tuple[str, int, int, bool]:
    """(slot, start, end, whether it was moved): of several places with the value, the nearest."""
    _, slot, value, start, end = span
    value = str(value)
    if value and utterance[start:end].lower() == value.lower():
        return slot, start, end, False
    text = re.escape(value.strip())
    places = find(rf"(?<!\w){text}(?!\w)", utterance) or find(text, utterance)
    if not places:
        raise ConfigError(
            f"a span must cover the value that it carries: {place} has {list(span)}, which covers "
            f"{utterance[start:end]!r}, and the value is not in the utterance; correct span_info"
        )
    start, end = min(places, key=lambda found: abs(found[0] - start))
    return slot, start, end, True


def find(pattern: str, utterance: str) -> list[tuple[int, int]]:
    """Where it stands, in any case; nothing is nowhere."""
    found = re.finditer(pattern, utterance, re.IGNORECASE)
    return [match.span() for match in found if match.group()]


def _check_span(span: Span, place: str) -> None:
    if len(span) != 5 or not isinstance(span[3], int) or not isinstance(span[4], int):
        raise ConfigError(f"a span must be [act, slot, value, start, end]: {place} has {span}")
    name = str(span[1])
    if not is_known(name):
        known = find_slot(name)
        meant = f" (did you mean {known}?)" if known else nearest(name.lower(), CANONICAL)
        raise ConfigError(
            f"slot {name!r} of {place} has no canonical name{meant}: correct span_info of "
            "dialog_acts.json, or add the name to trainable/dialogue/slots.py"
        )
