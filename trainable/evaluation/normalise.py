"""Responses in one form, so that systems with different slot names and tokenisers compare.

Source: evaluation spec, section 1. Hypotheses and references go through the same function.
"""

import re
import warnings
from functools import cache, lru_cache

from sacremoses import MosesDetokenizer, MosesTokenizer

from trainable.dialogue.slots import CANONICAL, find_slot
from trainable.trial import nearest

_SLOT = re.compile(r"\[([\w\s\d]+)\](?:es|s|-s|-es|)")
# What other tools write in the place of [name]: <name>, {name}, [hotel-name], [[name]], __name__
_OTHER_SPELLING = re.compile(r"[<{\[]+\s*([a-z][\w .-]*?)\s*[>}\]]+|\b__([a-z]\w*?)__\b")
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

    A slot name without a canonical one becomes nothing, with one warning a name; a placeholder in
    another spelling stays the text that it is, with one too.

    >>> normalise_response("The [hotel_name] is [value_pricerange] -ly priced .")
    'the NAME is PRICE priced.'
    """
    text = text.lower()
    for match in _OTHER_SPELLING.finditer(text):
        _look_at(match)
    text = _SLOT.sub(_canonical_slot, text)
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


def _look_at(match: re.Match[str]) -> None:
    """Warns where what stands there means a slot and is read as none."""
    if not _SLOT.fullmatch(match.group()):
        name = find_slot(match.group(1) or match.group(2))
        if name is not None:
            _warn_spelling(match.group(), name)


@cache
def _warn_spelling(spelling: str, name: str) -> None:
    warnings.warn(
        f"{spelling} in a response is no placeholder and is scored as text (did you mean "
        f"[{name}]?)",
        stacklevel=2,
    )


@cache
def _warn_unknown(name: str) -> None:
    known = find_slot(name)
    meant = f" (did you mean [{known}]?)" if known else nearest(name, CANONICAL)
    warnings.warn(
        f"unknown slot [{name}] in a response counts as nothing{meant}: "
        "use a slot name of trainable/dialogue/slots.py",
        stacklevel=2,
    )
