"""System utterances with their annotated spans as [slot].

Source: evaluation spec, section 6: the spans are `span_info` of `dialog_acts.json` (MultiWOZ 2.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainable.dialogue.slots import is_known
from trainable.trial import ConfigError

Span = Sequence[Any]  # [act, slot name, value, start, end), in characters


def delexicalise(utterance: str, spans: Sequence[Span], place: str = "an utterance") -> str:
    """The utterance with spans as [slot], in the corpus's spelling of slots; a span that starts
    inside an earlier one, or whose value is `dontcare`, stays as it is. `place` is for messages.
    Raises ConfigError on a slot without a canonical name, or a span that is none.

    >>> delexicalise("Try Nandos.", [["inform", "name", "Nandos", 4, 10]])
    'Try [name].'
    """
    pieces = []
    end_before = 0
    for _, slot, value, start, end in sorted(spans, key=lambda span: _check_span(span, place)):
        if start < end_before or value == "dontcare":
            continue
        pieces += [utterance[end_before:start], f"[{slot}]"]
        end_before = end
    return "".join(pieces) + utterance[end_before:]


def _check_span(span: Span, place: str) -> int:
    """The span's start."""
    if len(span) != 5 or not isinstance(span[3], int) or not isinstance(span[4], int):
        raise ConfigError(f"a span must be [act, slot, value, start, end]: {place} has {span}")
    if not is_known(str(span[1])):
        raise ConfigError(
            f"slot {span[1]!r} of {place} has no canonical name: correct span_info of "
            "dialog_acts.json, or add the name to trainable/dialogue/slots.py"
        )
    return span[3]
