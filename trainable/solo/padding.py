"""Whether a model computes a padded row as it does the row alone, and a token from those in front
of it.

The first not where something runs across the padding, as recurrences do, or rotary frequencies are
those of the longest row: such models are given one row at a time. The second not in encoders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trainable.trial import ConfigError, Setting

Pad = Callable[..., tuple[Tensor, Tensor]]  # rows, left= -> ids and mask [rows, longest]
EXACT_NATS, ROUGH_NATS = 1e-3, 0.2  # mean difference allowed, in 32 bits and in 16
SAME_NATS = 1e-5  # in 32 bits, of passes of one length
SHORT = 24, 80  # tokens: frequencies may change behind the first, keys be chosen behind the second
LONG = 160
KEPT = 16  # tokens in front of those that are changed
NEXT = 3  # tokens: minimax's first is right, and its kept state is not


@torch.no_grad()
def ignores_padding(model: Any, pad: Pad, tokens: Sequence[int]) -> bool:
    """`tokens`: a text long enough for the longest row."""
    rows = [list(tokens[:length]) for length in (*SHORT, LONG)]
    for predict, is_left in ((predict_padded, False), (predict_next, True)):
        together = predict(model, *pad(rows, left=is_left))
        for row, beside in zip(rows[:-1], together[:, None], strict=False):
            alone = predict(model, *pad([row], left=is_left))
            if not is_same(beside[:, : alone.shape[1]], alone):
                return False
    return True


@torch.no_grad()
def check_order(model: Any, pad: Pad, tokens: Sequence[int], base_model: str) -> None:
    """Raises ConfigError where what a model predicts depends on the tokens behind: its loss on a
    dialogue would be that of somebody who has read it. `tokens`: a text longer than `KEPT`."""
    row = list(tokens[: SHORT[0]])
    other = row[:KEPT] + row[KEPT:][::-1]
    first, second = (predict_padded(model, *pad([ids], left=False)) for ids in (row, other))
    if not is_same(second[:, :KEPT], first[:, :KEPT], SAME_NATS):
        raise ConfigError(
            f"a base model must predict a token from those in front of it, and {base_model} reads "
            "those behind it, too, as encoders do: give a decoder or an encoder-decoder (",
            *(Setting("base_model"), ")"),
        )


def is_same(found: Tensor, wanted: Tensor, exact_nats: float = EXACT_NATS) -> bool:
    """Whether logits [rows, tokens, vocabulary] are, but for rounding."""
    near = exact_nats if wanted.dtype == torch.float32 else ROUGH_NATS
    apart = (found.float().log_softmax(-1) - wanted.float().log_softmax(-1)).abs().mean()
    return float(apart) <= near  # not where it is NaN


def predict_padded(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Logits [rows, tokens, vocabulary] of a training pass."""
    logits: Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return logits


def predict_next(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Logits [rows, NEXT, vocabulary] of a reply's first tokens."""
    made = model.generate(
        input_ids=ids, attention_mask=mask, min_new_tokens=NEXT, max_new_tokens=NEXT,
        do_sample=False, output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    return torch.stack(made.logits, dim=1)
