from __future__ import annotations

import pytest

from trainable.evaluation.richness import compute_msttr, measure_richness, tokenise


def test_tokens_are_those_of_lexical_diversity() -> None:
    assert tokenise("It's NAME; cb1-2dp, (open)? 5/6") == ("its", "name", "cb12dp", "open", "56")
    assert tokenise("") == ("",)
    assert tokenise("a . b") == ("a", "b")


def test_counts_and_entropies_by_hand() -> None:
    richness = measure_richness(["a b a b", "a"])
    assert richness["num_unigrams"] == 2
    assert richness["num_bigrams"] == 2
    assert richness["num_trigrams"] == 2
    assert richness["avg_lengths"] == 2.5
    assert richness["entropy"] == pytest.approx(0.970950594)
    # ab twice and ba once, of five words; a is followed by b in 2 of 3, b by a in 1 of 2
    assert richness["cond_entropy"] == pytest.approx(2 / 5 * 0.584962501 + 1 / 5)


def test_msttr_leaves_a_last_part_window_out() -> None:
    assert compute_msttr(["a"] * 50) == 1 / 50
    assert compute_msttr([*map(str, range(50)), *["a"] * 60]) == (1 + 1 / 50) / 2


def test_order_changes_nothing_but_msttr() -> None:
    responses = ["one two three", "two three", "four one two", "x " * 60]
    forwards, backwards = measure_richness(responses), measure_richness(responses[::-1])
    for name in forwards.keys() - {"msttr"}:
        assert forwards[name] == backwards[name]
