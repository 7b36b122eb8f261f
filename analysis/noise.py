"""How much of a difference the choice of dialogues alone would make: the paired
bootstrap over dialogues, from the per-dialogue counts that every evaluation leaves behind."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.evaluation.bleu import compute_bleus
from trainable.evaluation.bootstrap import draw_weights
from trainable.result import OBJECTIVE
from trainable.system.json_object import read_object

PERCENT = ("rouge", "exact", "semantic")  # whose counts lie in 0..1
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DialogueCounts:
    """One evaluation, dialogue by dialogue."""

    turns_seen: int
    ids: tuple[str, ...]
    # (dialogue, 12): inform, success, 4 matches, 4 totals, tokens, reference tokens; of another
    # objective than Combined and BLEU (dialogue, 2): a sum, and how many things are summed
    counts: Floats
    objective: str = OBJECTIVE


def read_counts(folder: Path, trial: str, objective: str = OBJECTIVE) -> DialogueCounts | None:
    """The counts of the trial's latest evaluation that decide its objective, or None where there
    are none to read."""
    try:
        content = read_object(folder / "trials" / trial / "dialogues.json")
        return build_counts(content, objective) if content else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # damaged
        return None


def build_counts(dialogues: dict[str, Any], objective: str = OBJECTIVE) -> DialogueCounts | None:
    """From dialogue id -> its counts, as `Scores.dialogues` has them; None: there are none. Raises
    ValueError or KeyError where they are not whole."""
    turns = int(dialogues.pop("turns_seen", -1))
    if not dialogues:
        return None
    ids = tuple(sorted(dialogues))
    if objective not in (OBJECTIVE, "bleu") and not all("objective" in dialogues[i] for i in ids):
        return None
    rows = np.array([_row(dialogues[i], objective) for i in ids], dtype=np.float64)
    if rows.shape[1] != (12 if objective in (OBJECTIVE, "bleu") else 2):
        raise ValueError("so many counts make no score")
    return DialogueCounts(turns_seen=turns, ids=ids, counts=rows, objective=objective)


def _row(dialogue: Mapping[str, Any], objective: str) -> list[float]:
    if objective not in (OBJECTIVE, "bleu"):
        return [float(x) for x in dialogue["objective"]]
    rates = (float(dialogue.get("inform") or 0), float(dialogue.get("success") or 0))
    return [*rates, *(float(x) for x in dialogue["bleu"])]


def score_sums(n_dialogues: float, sums: Floats, objective: str) -> Floats:
    """[sums]: the objective's value from summed counts [sums, counts]; of a mean up to its unit."""
    if objective == OBJECTIVE:
        return score_combined(n_dialogues, sums)
    if objective == "bleu":
        return compute_bleus(sums[:, 2:])
    return np.asarray(sums[:, 0] / sums[:, 1], dtype=np.float64)


def score_combined(n_dialogues: float, sums: Floats) -> Floats:
    """[sums], 0..200: (inform + success)/2 + BLEU, from summed counts [sums, 12].

    >>> perfect = np.array([[2.0, 2, 9, 8, 7, 6, 9, 8, 7, 6, 9, 9]])
    >>> score_combined(2, perfect).round(3).tolist()
    [200.0]
    """
    return 50.0 * (sums[:, 0] + sums[:, 1]) / n_dialogues + compute_bleus(sums[:, 2:])


_draw_weights = lru_cache(maxsize=8)(draw_weights)  # the same for every trial: that pairs them


def draw_values(counts: DialogueCounts, value: float | None = None) -> Floats:
    """[resamples]: the objective for resampled dialogues, scaled so that all dialogues together
    have the `value` that was recorded. Pairs with every other call over the same dialogues."""
    n_dialogues = len(counts.ids)
    drawn = score_sums(n_dialogues, _draw_weights(n_dialogues) @ counts.counts, counts.objective)
    if value is None or counts.objective in (OBJECTIVE, "bleu"):
        return drawn
    own = float(score_sums(n_dialogues, counts.counts.sum(axis=0)[None], counts.objective)[0])
    scale = 100.0 if counts.objective in PERCENT else 1.0
    return value + scale * (drawn - own)
