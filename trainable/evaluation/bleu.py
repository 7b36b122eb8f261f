"""Corpus BLEU from sums of sacrebleu's own counts over dialogues.

Source: evaluation spec, section 6; Papineni et al. (2002); sacrebleu's defaults (13a, exp).
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

ORDER = 4
_tokenise_chunk = lru_cache(maxsize=1 << 16)(Tokenizer13a())


def tokenise(response: str) -> str:
    """sacrebleu's 13a tokens, joined by spaces. Its rules never look across a space, so that the
    few distinct chunks between spaces are tokenised once."""
    if "\n" in response:
        return Tokenizer13a()(response)
    return " ".join(filter(None, map(_tokenise_chunk, response.split())))


class Reference:
    """One dialogue's reference responses, tokenised and counted once."""

    def __init__(self, responses: Sequence[str]) -> None:
        self._metric = BLEU(references=[[*map(tokenise, responses)]], tokenize="none")

    def count(self, responses: Sequence[str]) -> list[int]:
        """[4 n-gram matches, 4 n-gram totals, hypothesis tokens, reference tokens] of as many
        normalised responses as there are references."""
        score = self._metric.corpus_score([*map(tokenise, responses)], None)
        return [*map(int, score.counts), *map(int, score.totals), score.sys_len, score.ref_len]


def compute_bleu(statistics: Sequence[int] | NDArray[np.int64]) -> float:
    """BLEU in 0..100 of summed counts, by sacrebleu itself."""
    values = [int(value) for value in statistics]
    score = BLEU.compute_bleu(
        values[:ORDER], values[ORDER : 2 * ORDER], values[-2], values[-1], smooth_method="exp"
    )
    return float(score.score)


def compute_bleus(statistics: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same for many sums at once: [sums, 10] -> [sums], in 0..100. An order without a match
    counts as half a match, the next such as a quarter, and so on (sacrebleu's `exp`)."""
    matches, totals = statistics[:, :ORDER], statistics[:, ORDER : 2 * ORDER]
    hypothesis, reference = statistics[:, -2], statistics[:, -1]
    misses = np.cumsum(matches == 0, axis=1)
    smoothed = np.where(matches == 0, 0.5**misses, matches)
    with np.errstate(divide="ignore", invalid="ignore"):
        precisions = np.log(smoothed / totals)
        brevity = np.where(hypothesis < reference, 1 - reference / hypothesis, 0.0)
        scores = 100 * np.exp(brevity + precisions.mean(axis=1))
    has_score = matches.any(axis=1) & (totals > 0).all(axis=1)
    return np.where(has_score, scores, 0.0)
