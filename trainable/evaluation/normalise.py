"""Responses in one form, so that systems with different slot names and tokenisers compare.

Source: evaluation spec, section 1. Hypotheses and references go through the same door.
"""

from __future__ import annotations

import re
import warnings
from functools import cache, lru_cache

from sacremoses import MosesDetokenizer, MosesTokenizer

from trainable.dialogue.slots import CANONICAL

_SLOT = re.compile(r"\[([\w\s\d]+)\](?:es|s|-s|-es|)")
# Quotation marks that pair up, entities, and what is not printable ASCII
_NEEDS_WHOLE = re.compile(r"""[^ -~]|["`&]|(?<![a-zA-Z])'|'(?![a-zA-Z])""")
_LOWER = frozenset(MosesTokenizer.IsLower)


class _Tokenizer(MosesTokenizer):
    def islower(self, text: str) -> bool:
        """sacremoses builds the set of all lower-case letters anew at every sentence end."""
        return _LOWER.issuperset(text)


_tokenizer = _Tokenizer(lang="en")
_detokenizer = MosesDetokenizer(lang="en")


@lru_cache(maxsize=1 << 17)
def normalise_response(text: str) -> str:
    """The response lower-cased, its slots canonical and upper-case, in Moses' plain spacing.

    A slot name without a canonical one becomes nothing, with one warning a name.

    >>> normalise_response("The [hotel_name] is [value_pricerange] -ly priced .")
    'the NAME is PRICE priced.'
    """
    text = _SLOT.sub(_canonical_slot, text.lower())
    text = text.replace("-s", "").replace("-ly", "")
    return respace(text)


def respace(text: str) -> str:
    """The text with Moses' spacing: tokenised and joined again.

    Between two plain words nothing that Moses looks at crosses (except paired quotation marks),
    so that the text may be cut there and the few short pieces that are left remembered.
    """
    if _NEEDS_WHOLE.search(text):
        return respace_whole(text)
    pieces: list[list[str]] = []
    follows_word = False
    for chunk in text.split():
        is_word = chunk.isalpha()
        if not pieces or (is_word and follows_word):
            pieces.append([])
        pieces[-1].append(chunk)
        follows_word = is_word
    return " ".join(
        piece[0] if piece[0].isalpha() and len(piece) == 1 else _respace_piece(" ".join(piece))
        for piece in pieces
    )


def respace_whole(text: str) -> str:
    """The same by Moses alone."""
    return _detokenizer.detokenize(_tokenizer.tokenize(text))


_respace_piece = lru_cache(maxsize=1 << 16)(respace_whole)


def _canonical_slot(match: re.Match[str]) -> str:
    name = match.group(1).lower()
    canonical = CANONICAL.get(name)
    if canonical is None:
        _warn_unknown(name)
        return ""
    return canonical


@cache
def _warn_unknown(name: str) -> None:
    warnings.warn(
        f"unknown slot [{name}] in a response counts as nothing: "
        "use a slot name of trainable/dialogue/slots.py",
        stacklevel=2,
    )
