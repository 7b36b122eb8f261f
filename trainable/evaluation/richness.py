"""How varied a system's responses are.

Source: evaluation spec, section 7. Tokens and MSTTR as in the `lexical_diversity` package, which
cannot be a dependency (it imports the retired `pkg_resources`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from math import fsum, log2

WINDOW_TOKENS = 50
_PUNCTUATION = str.maketrans("", "", "'.,?!)(%/-_")
_COLONS = str.maketrans("", "", ":;")
_SPACES = re.compile(r"\s+")


@lru_cache(maxsize=1 << 17)
def tokenise(text: str) -> tuple[str, ...]:
    """Lower-case words without punctuation; an empty text is one empty word.

    >>> tokenise("The NAME, is it PRICE?")
    ('the', 'name', 'is', 'it', 'price')
    """
    text = text.replace("``", "").translate(_PUNCTUATION)
    text = text.replace("SYM", "").translate(_COLONS)
    return tuple(_SPACES.sub(" ", text).lower().split(" "))


def measure_richness(responses: Iterable[str]) -> dict[str, float]:
    """Entropies in bits, mean length in tokens, MSTTR in 0..1 and counts of distinct n-grams over
    all (normalised) responses. Only MSTTR depends on their order."""
    turns = [tokenise(response) for response in responses]
    words = [word for turn in turns for word in turn]
    unigrams = Counter(words)
    bigrams = Counter(pair for turn in turns for pair in pairwise(turn))
    trigrams = {triple for turn in turns for triple in zip(turn, turn[1:], turn[2:], strict=False)}
    total = len(words)
    return {
        "entropy": -fsum(n / total * log2(n / total) for n in unigrams.values()),
        "cond_entropy": -fsum(
            n / total * log2(n / unigrams[first]) for (first, _), n in bigrams.items()
        ),
        "avg_lengths": total / len(turns),
        "msttr": compute_msttr(words),
        "num_unigrams": len(unigrams),
        "num_bigrams": len(bigrams),
        "num_trigrams": len(trigrams),
    }


def compute_msttr(words: Sequence[str]) -> float:
    """Mean share of distinct words over consecutive whole windows; of a text no longer than one
    window, its own share."""
    if len(words) <= WINDOW_TOKENS:
        return len(set(words)) / len(words)
    starts = range(0, len(words) - WINDOW_TOKENS + 1, WINDOW_TOKENS)
    distinct = sum(len(set(words[start : start + WINDOW_TOKENS])) for start in starts)
    return distinct / (WINDOW_TOKENS * len(starts))
