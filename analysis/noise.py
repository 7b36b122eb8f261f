"""How much of a difference the choice of dialogues alone would make: the paired
bootstrap over dialogues, from the per-dialogue counts that every evaluation leaves behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.evaluation.bleu import compute_bleus
from trainable.evaluation.bootstrap import draw_weights

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DialogueCounts:
    """One evaluation, dialogue by dialogue."""

    turns_seen: int
    ids: tuple[str, ...]
    counts: Floats  # (dialogue, 12): inform, success, 4 matches, 4 totals, tokens, reference tokens


def read_counts(folder: Path, trial: str) -> DialogueCounts | None:
    """The counts of the trial's latest evaluation, or None where there are none to read."""
    path = folder / "trials" / trial / "dialogues.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    turns = int(content.pop("turns_seen", -1))
    dialogues: dict[str, Any] = content
    if not dialogues:
        return None
    ids = tuple(sorted(dialogues))
    rows = [_row(dialogues[i]) for i in ids]
    return DialogueCounts(turns_seen=turns, ids=ids, counts=np.array(rows, dtype=np.float64))


def _row(dialogue: Mapping[str, Any]) -> list[float]:
    rates = (float(dialogue["inform"] or 0), float(dialogue["success"] or 0))
    return [*rates, *(float(x) for x in dialogue["bleu"])]


def score_combined(n_dialogues: float, sums: Floats) -> Floats:
    """[sums], 0..200: (inform + success)/2 + BLEU, from summed counts [sums, 12].

    >>> perfect = np.array([[2.0, 2, 9, 8, 7, 6, 9, 8, 7, 6, 9, 9]])
    >>> score_combined(2, perfect).round(3).tolist()
    [200.0]
    """
    return 50.0 * (sums[:, 0] + sums[:, 1]) / n_dialogues + compute_bleus(sums[:, 2:])


_draw_weights = lru_cache(maxsize=8)(draw_weights)  # the same for every trial: that pairs them


def draw_combined(counts: DialogueCounts) -> Floats:
    """[resamples]: Combined for resampled dialogues. Pairs with every other call over the same
    dialogues."""
    n_dialogues = len(counts.ids)
    return score_combined(n_dialogues, _draw_weights(n_dialogues) @ counts.counts)
