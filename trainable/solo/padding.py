"""Whether a model computes a padded row as it does the row alone, and a token from those in front
of it.

The first not where something runs across the padding, as recurrences do, or rotary frequencies are
those of the longest row: such models are given one row at a time. The second not in encoders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from trainable.trial import ConfigError, Setting

Pad = Callable[..., tuple[Tensor, Tensor]]  # rows, left= -> ids and mask [rows, longest]
# mean difference allowed in 32 bits, of passes of one length too; with layers in 8 bits
EXACT_NATS, SAME_NATS, ROUGH_NATS = 1e-3, 1e-5, 0.2
HALF = torch.bfloat16, torch.float16
SHORT = 24, 80  # tokens: frequencies may change behind the first, keys be chosen behind the second
LONG = 160
KEPT = 16  # tokens in front of those that are changed
NEXT = 3  # tokens: minimax's first is right, and its kept state is not


@contextmanager
def in_32_bits(model: Any) -> Iterator[None]:
    """For a while: in 16 bits rounding hides what padding does. Weights in 4 bits stay so, and
    multiply in 32."""
    held = [t for t in (*model.parameters(), *model.buffers()) if t.dtype in HALF]
    layers = [m for m in model.modules() if getattr(m, "compute_dtype", None) in HALF]
    kept = [t.data for t in held], [m.compute_dtype for m in layers]
    try:
        for tensor in held:
            tensor.data = tensor.data.float()
        for layer in layers:
            layer.compute_dtype = torch.float32
        yield
    finally:
        for tensor, data in zip(held, kept[0], strict=True):
            tensor.data = data
        for layer, dtype in zip(layers, kept[1], strict=True):
            layer.compute_dtype = dtype


@torch.no_grad()
def ignores_padding(model: Any, pad: Pad, tokens: Sequence[int], near: float = EXACT_NATS) -> bool:
    """`tokens`: a text long enough for the longest row. `near`: what rounding explains."""
    rows = [list(tokens[:length]) for length in (*SHORT, LONG)]
    follow = partial(predict_next, following=tokens[:NEXT])
    for predict, is_left in ((predict_padded, False), (follow, True)):
        together = predict(model, *pad(rows, left=is_left))
        for row, beside in zip(rows[:-1], together[:, None], strict=False):
            alone = predict(model, *pad([row], left=is_left))
            if not is_same(beside[:, : alone.shape[1]], alone, near):
                return False
    return True


@torch.no_grad()
def check_order(
    model: Any, pad: Pad, tokens: Sequence[int], base_model: str, near: float = SAME_NATS
) -> None:
    """Raises ConfigError where what a model predicts depends on the tokens behind: its loss on a
    dialogue would be that of somebody who has read it. `tokens`: a text longer than `KEPT`."""
    row = list(tokens[: SHORT[0]])
    other = row[:KEPT] + row[KEPT:][::-1]
    first, second = (predict_padded(model, *pad([ids], left=False)) for ids in (row, other))
    if not is_same(second[:, :KEPT], first[:, :KEPT], near):
        raise ConfigError(
            f"a base model must predict a token from those in front of it, and {base_model} reads "
            "those behind it, too, as encoders do: give a decoder or an encoder-decoder (",
            *(Setting("base_model"), ")"),
        )


def is_same(found: Tensor, wanted: Tensor, near: float) -> bool:
    """Whether logits [rows, tokens, vocabulary] differ by so many nats at most, on average."""
    apart = (found.float().log_softmax(-1) - wanted.float().log_softmax(-1)).abs().mean()
    return float(apart) <= near  # not where it is NaN


def predict_padded(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Logits [rows, tokens, vocabulary] of a training pass."""
    logits: Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return logits


def predict_next(model: Any, ids: Tensor, mask: Tensor, following: Sequence[int]) -> Tensor:
    """Logits [rows, tokens, vocabulary] of the tokens behind a prompt, each told from the given
    ones: chosen by the model, two that are as likely would part the rows for good."""
    n = len(following)
    made = model.generate(
        input_ids=ids, attention_mask=mask, min_new_tokens=n, max_new_tokens=n, do_sample=False,
        logits_processor=LogitsProcessorList([Given(following, ids.shape[1])]),
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    return torch.stack(made.logits, dim=1)


class Given(LogitsProcessor):
    """Leaves no choice but the given tokens, one after the other."""

    def __init__(self, tokens: Sequence[int], prompt_tokens: int) -> None:
        self.tokens, self.prompt_tokens = tokens, prompt_tokens

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """ids [rows, tokens so far], scores [rows, vocabulary] -> [rows, vocabulary]"""
        chosen = self.tokens[input_ids.shape[1] - self.prompt_tokens]
        only = torch.full_like(scores, -torch.inf)
        only[:, chosen] = 0.0
        return only
