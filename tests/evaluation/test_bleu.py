from __future__ import annotations

import string

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from trainable.evaluation.bleu import Reference, compute_bleu, compute_bleus, tokenise

WORDS = st.sampled_from(["the", "NAME", "is", "a", "cheap", "place", "in", "AREA", ".", ","])
SENTENCES = st.lists(WORDS, max_size=9).map(" ".join)
PAIRS = st.lists(st.tuples(SENTENCES, SENTENCES), min_size=1, max_size=6)


@given(PAIRS)
def test_summed_counts_give_sacrebleus_corpus_score(pairs: list[tuple[str, str]]) -> None:
    hypotheses, references = map(list, zip(*pairs, strict=True))
    half = len(pairs) // 2
    parts = [
        np.array(Reference(references[part]).count(hypotheses[part]))
        for part in (slice(half), slice(half, None))
        if references[part]
    ]
    score = sacrebleu.corpus_bleu(hypotheses, [references]).score
    assert compute_bleu(sum(parts)) == score


@given(st.lists(PAIRS, min_size=1, max_size=4))
def test_many_sums_at_once_equal_one_by_one(dialogues: list[list[tuple[str, str]]]) -> None:
    counts = np.array([Reference([r for _, r in d]).count([h for h, _ in d]) for d in dialogues])
    one_by_one = [compute_bleu(row) for row in counts]
    assert compute_bleus(counts.astype(float)) == pytest.approx(one_by_one, abs=1e-9)


@given(st.text(string.printable + "é€", max_size=30))
def test_tokens_by_chunk_equal_sacrebleus(text: str) -> None:
    assert tokenise(text.rstrip()) == Tokenizer13a()(text.rstrip())
