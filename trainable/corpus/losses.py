"""The loss on the corpus's own replies, in units that compare: nats a word, whatever the tokenizer
and whatever else (a belief state) is learnt in front of the reply."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trainable.corpus.encode import Window
from trainable.result import MeanLosses

Scored = tuple[Window, NDArray[np.float64]]  # a window, and each of its targets' loss in nats


@dataclass(frozen=True, kw_only=True)
class Losses(MeanLosses):
    """With each dialogue's own."""

    loss_nats: float  # always measured
    # dialogue id -> nats and words of its replies
    by_dialogue: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Brackets:
    """Which tokens of a vocabulary open a placeholder, and which close one (or do both)."""

    opens: NDArray[np.bool_]  # [vocabulary]
    closes: NDArray[np.bool_]  # [vocabulary]

    @classmethod
    def of(cls, pieces: Sequence[str]) -> Brackets:
        """`pieces`: the text of every token."""
        return cls(
            np.array(["[" in piece for piece in pieces], dtype=np.bool_),
            np.array(["]" in piece for piece in pieces], dtype=np.bool_),
        )

    def find_inside(self, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """[tokens]: from a bracket that opens to the one that closes it.

        >>> brackets = Brackets.of(["call", " [", "phone", "]", "[name]"])
        >>> brackets.find_inside(np.array([0, 1, 2, 3, 0, 4])).tolist()
        [False, True, True, True, False, True]
        """
        opened = np.cumsum(self.opens[ids])
        closes = self.closes[ids].astype(np.int64)
        return np.asarray(opened > np.cumsum(closes) - closes)  # those closed in front of each


def measure_losses(scored: Iterable[Scored], brackets: Brackets | None = None) -> Losses:
    """`brackets`: of the tokenizer where replies have placeholders; None: they have none."""
    nats, targets, reply_nats, words = 0.0, 0, 0.0, 0
    inside_nats, placeholders = 0.0, 0
    dialogues: dict[str, list[float]] = {}
    for window, losses in scored:
        nats, targets = nats + float(losses.sum()), targets + len(losses)
        for reply in window.replies:
            first, end = np.searchsorted(window.targets, (reply.start, reply.end))
            own = losses[first:end]
            reply_nats, words = reply_nats + float(own.sum()), words + reply.words
            counts = dialogues.setdefault(window.dialogue_id, [0.0, 0.0])
            counts[0], counts[1] = counts[0] + float(own.sum()), counts[1] + reply.words
            if brackets is not None:
                ids = window.ids[reply.start : reply.end]
                inside_nats += float(own[brackets.find_inside(ids)].sum())
                placeholders += int(brackets.opens[ids].sum())
    return Losses(
        loss_nats=nats / max(targets, 1),
        nats_per_word=reply_nats / words if words else None,
        nats_per_placeholder=inside_nats / placeholders if placeholders else None,
        by_dialogue=dialogues,
    )
