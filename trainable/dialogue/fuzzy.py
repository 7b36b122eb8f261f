"""How alike two strings are: the partial ratio of fuzzywuzzy 0.18, on rapidfuzz's primitives.

rapidfuzz's own `partial_ratio` searches the best window exactly; fuzzywuzzy only tries windows
that start where a block of the edit script matches, rounds to whole percents, and calls anything
above 0.995 a full match. Venues near the threshold differ, and the published scores are
fuzzywuzzy's with python-Levenshtein.
"""

from functools import lru_cache

from rapidfuzz import fuzz
from rapidfuzz.distance import Indel, Levenshtein


@lru_cache(maxsize=1 << 18)
def partial_ratio(one: str, other: str) -> int:
    """Percent, 0..100, of the best window of the longer string against the shorter one.

    >>> partial_ratio("cambridge", "london to cambridge"), partial_ratio("a", "")
    (100, 0)
    """
    if one == other:
        return 100
    if not one or not other:
        return 0
    shorter, longer = (one, other) if len(one) <= len(other) else (other, one)
    best = 0.0
    for block in Levenshtein.opcodes(shorter, longer).as_matching_blocks():
        start = max(0, block.b - block.a)
        ratio = Indel.normalized_similarity(shorter, longer[start : start + len(shorter)])
        if ratio > 0.995:
            return 100
        best = max(best, ratio)
    return round(100 * best)


def is_similar(one: str, other: str, percent: int) -> bool:
    """Whether the partial ratio is at least so many (more than 0) percent.

    >>> is_similar("nandos", "nandos city centre", 90)
    True
    """
    # rapidfuzz tries every window, so that its ratio is never the lower one, and is 10 times
    # faster; rounding lets half a percent less pass.
    if one != other and fuzz.partial_ratio(one, other) < percent - 1:
        return False
    return partial_ratio(one, other) >= percent
