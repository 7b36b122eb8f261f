"""Whether a model computes a padded row as it does the row alone.

Not where something runs across the padding, as recurrences do, or rotary frequencies are those of
the longest row: such models are given one row at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Pad = Callable[..., tuple[Tensor, Tensor]]  # rows, left= -> ids and mask [rows, longest]
EXACT_NATS, ROUGH_NATS = 1e-3, 0.2  # mean difference allowed, in 32 bits and in 16
ROWS = 24, 120  # tokens of a short row and of a long one
NEXT = 3  # tokens: minimax's first is right, and its kept state is not


@torch.no_grad()
def ignores_padding(model: Any, pad: Pad, tokens: Sequence[int]) -> bool:
    """`tokens`: a text long enough for both rows."""
    short, long = (list(tokens[:length]) for length in ROWS)
    for predict, is_left in ((predict_padded, False), (predict_next, True)):
        alone = predict(model, *pad([short], left=is_left))
        beside = predict(model, *pad([short, long], left=is_left))
        near = EXACT_NATS if alone.dtype == torch.float32 else ROUGH_NATS
        shared = beside[:1, : alone.shape[1]]
        apart = (shared.float().log_softmax(-1) - alone.float().log_softmax(-1)).abs().mean()
        if not float(apart) <= near:
            return False
    return True


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
