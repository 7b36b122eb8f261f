"""How well the states were tracked.

Source: evaluation spec, section 9.
"""

from collections.abc import Sequence
from itertools import repeat

import numpy as np

from trainable.dialogue.dialogue import State
from trainable.dialogue.fuzzy import is_similar

FUZZY_RATIO = 95  # a value matches above it
_TINY = 1e-10  # mwzeval's guard against division by zero


def count_slots(hypotheses: Sequence[State], references: Sequence[State]) -> list[int]:
    """[turns with the whole state right, turns, true positives, false positives, false negatives]
    of one dialogue; states normalised. A wrong value counts as both kinds of false."""
    counts = [0, 0, 0, 0, 0]
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        found, wanted = _flatten(hypothesis), _flatten(reference)
        right = sum(
            slot in found and is_similar(found[slot], value, FUZZY_RATIO + 1)
            for slot, value in wanted.items()
        )
        wrong, missed = len(found) - right, len(wanted) - right
        joint = not wrong and not missed
        for index, count in enumerate((joint, 1, right, wrong, missed)):
            counts[index] += count
    return counts


def _flatten(state: State) -> dict[tuple[str, str], str]:
    return {
        key: value
        for domain, slots in state.items()
        for key, value in zip(zip(repeat(domain), slots), slots.values(), strict=True)
    }


def compute_dst(counts: Sequence[int]) -> dict[str, float]:
    """Joint accuracy and slot F1 in percent, slot precision and recall in 0..1 (as mwzeval has
    them), from summed counts."""
    joint, turns, right, wrong, missed = np.asarray(counts, dtype=float)
    precision = right / (right + wrong + _TINY)
    recall = right / (right + missed + _TINY)
    return {
        "joint_accuracy": float(100 * (joint / (turns + _TINY))),
        "slot_f1": float(100 * (2 * precision * recall / (precision + recall + _TINY))),
        "slot_precision": float(precision),
        "slot_recall": float(recall),
    }
