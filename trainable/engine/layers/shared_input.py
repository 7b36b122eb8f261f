"""LoRA's products of layers that read one input: by one kernel each on a GPU, else one by one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainable.engine.layers.blocks import Blocks, has_kernels
from trainable.engine.layers.dropout import Dropout
from trainable.engine.layers.layout import Layout

Mask = tuple[Tensor, Tensor, Tensor]  # token keys, feature keys [layers, in], shares that are kept


def multiply_kept(
    layout: Layout | Blocks,
    x: Tensor,
    dropout: Dropout | None,
    feature_keys: Tensor,
    ws: Sequence[Tensor],
    scales: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """What dropout leaves of x [tokens, in] for each layer, [layers, tokens, in] (without dropout
    [1, tokens, in]), and `layout.multiply` of that with the layer's w [slots, in, n] and scale:
    [layers, tokens, n]. feature_keys [layers, in]; no scales: none."""
    if isinstance(layout, Blocks) and has_kernels(x):
        from trainable.engine.kernels.shared_input import multiply_kept_blocks

        mask = spell_mask(dropout, feature_keys)
        return multiply_kept_blocks(x, mask, ws, layout.slots, scales)
    kept = x[None]
    if dropout is not None:
        kept = torch.stack([dropout.apply(x, keys) for keys in feature_keys])
    return kept, multiply_each(layout, kept.expand(len(ws), -1, -1).unbind(), ws, scales)


def multiply_each(
    layout: Layout | Blocks, xs: Sequence[Tensor], ws: Sequence[Tensor], scales: Sequence[Tensor]
) -> Tensor:
    """`layout.multiply` of each layer's x [tokens, m], w [slots, m, n] and scale, m a layer's own:
    [layers, tokens, n]."""
    own: Sequence[Tensor | None] = scales or [None] * len(ws)
    if isinstance(layout, Blocks) and has_kernels(xs[0]):
        from trainable.engine.kernels.block_products import multiply_blocks

        out = xs[0].new_empty(len(ws), len(xs[0]), ws[0].shape[2])
        for x, w, scale, part in zip(xs, ws, own, out, strict=True):
            multiply_blocks(x, w, layout.slots, scale, out=part)
        return out
    return torch.stack([layout.multiply(*each) for each in zip(xs, ws, own, strict=True)])


def add_kept_products(
    layout: Layout | Blocks,
    y: Tensor,
    xs: Tensor,
    ws: Sequence[Tensor],
    dropout: Dropout | None,
    feature_keys: Tensor,
) -> Tensor:
    """y [tokens, out] and what dropout leaves of each layer's `layout.multiply(x, w)`, xs [layers,
    tokens, n] and feature_keys [layers, out]; y may be overwritten."""
    if isinstance(layout, Blocks) and has_kernels(xs):
        from trainable.engine.kernels.shared_input import add_kept_blocks

        mask = spell_mask(dropout, feature_keys)
        return add_kept_blocks(y, xs, ws, mask, layout.slots)
    for x, w, keys in zip(xs, ws, feature_keys, strict=True):
        if dropout is None:
            y = layout.add_product(y, x, w)
        else:
            y = y.add_(dropout.apply(layout.multiply(x, w), keys))
    return y


def add_gradients(
    layout: Layout | Blocks, totals: Sequence[Tensor], left: Tensor, right: Tensor
) -> None:
    """`layout.add_gradients` of each layer, totals [slots, m, n], left [layers or 1, tokens, m],
    right [layers, tokens, n]."""
    if isinstance(layout, Blocks) and has_kernels(left):
        from trainable.engine.kernels.block_products import add_gradients

        return add_gradients(totals, left, right, layout.borders)
    for total, one, other in zip(totals, left.expand(len(right), -1, -1), right, strict=True):
        layout.add_gradients(total, one, other)


def spell_mask(dropout: Dropout | None, feature_keys: Tensor) -> Mask | None:
    """As the kernels read it; `feature_keys` [layers, in features]."""
    return None if dropout is None else (dropout.token_keys, feature_keys, dropout.keep)
