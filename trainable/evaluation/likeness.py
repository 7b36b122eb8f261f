"""How alike replies and references are, dialogue by dialogue: ROUGE-L and exact matches."""

import re
from collections.abc import Callable, Sequence

from rapidfuzz.distance import LCSseq

# of replies and the reference of each: in 0..1, one number a pair
Alike = Callable[[Sequence[str], Sequence[str]], Sequence[float]]
_WORD = re.compile(r"\[[\w\s]+\]|\w+")  # a placeholder is one word


def rouge_l(reply: str, reference: str) -> float:
    """F1 in 0..1 of the longest common subsequence of lower-case words (Lin 2004, ROUGE-L with
    equal weights).

    >>> rouge_l("the cat sat", "the cat is sad"), rouge_l("", "")
    (0.5714285714285714, 1.0)
    """
    one, other = (_WORD.findall(text.lower()) for text in (reply, reference))
    if not one or not other:
        return float(one == other)
    return 2 * LCSseq.similarity(one, other) / (len(one) + len(other))


def is_exact(reply: str, reference: str) -> float:
    """1.0 where they are the same but for case and blanks, else 0.0.

    >>> is_exact(" Yes,  please.", "yes, please."), is_exact("yes", "no")
    (1.0, 0.0)
    """
    return float(reply.lower().split() == reference.lower().split())


def pairwise(alike: Callable[[str, str], float]) -> Alike:
    """The same for many pairs."""
    return lambda replies, references: [*map(alike, replies, references)]


ALIKE: dict[str, Alike] = {"rouge": pairwise(rouge_l), "exact": pairwise(is_exact)}
