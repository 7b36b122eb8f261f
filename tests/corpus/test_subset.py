from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from trainable.corpus.corpus import Corpus
from trainable.corpus.subset import validation_subset
from trainable.dialogue.dialogue import Dialogue

GOALS = {"taxi": 10, "hotel": 60, "hotel+train": 30}
DIALOGUES = [
    Dialogue(id=f"{kind}{n}", turns=(), goal={domain: {} for domain in kind.split("+")})
    for kind, size in GOALS.items()
    for n in range(size)
]


def test_each_larger_subset_contains_the_smaller() -> None:
    subsets = [validation_subset(DIALOGUES, n) for n in range(101)]
    for smaller, larger in pairwise(subsets):
        assert larger[: len(smaller)] == smaller
    assert {d.id for d in subsets[100]} == {d.id for d in DIALOGUES}
    assert validation_subset(DIALOGUES, 1000) == subsets[100]


@pytest.mark.parametrize("n", [10, 20, 50])
def test_every_prefix_has_the_shares_of_the_whole(n: int) -> None:
    drawn = Counter("+".join(d.domains) for d in validation_subset(DIALOGUES, n))
    for kind, size in GOALS.items():
        assert abs(drawn[kind] - n * size / 100) <= 1


def test_the_seed_decides_and_the_input_order_does_not() -> None:
    assert validation_subset(DIALOGUES[::-1], 30) == validation_subset(DIALOGUES, 30)
    assert validation_subset(DIALOGUES, 30, seed=1) != validation_subset(DIALOGUES, 30)


def test_real_domains_keep_their_shares(multiwoz: Corpus) -> None:
    dialogues = multiwoz.splits["validation"]
    subset = validation_subset(dialogues, 100)
    for domain in ("restaurant", "hotel", "attraction", "train", "taxi"):
        share = sum(domain in d.goal for d in dialogues) / len(dialogues)
        assert abs(sum(domain in d.goal for d in subset) / 100 - share) < 0.06
