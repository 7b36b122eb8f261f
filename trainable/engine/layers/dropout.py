"""Dropout whose masks are functions of the token, the module and the feature, and never stored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainable.engine.layers.blocks import Blocks, has_kernels
from trainable.engine.layers.layout import Layout
from trainable.model.counter import combine, uniform


@dataclass(frozen=True)
class Dropout:
    """What decides the masks of a pass: one key a token (mixed of its slot's seed, its dialogue's
    place in the data order, its position), and one keep probability a token."""

    token_keys: Tensor  # int32 [tokens, 1]
    keep: Tensor  # float32 [tokens, 1]

    def apply(self, x: Tensor, feature_keys: Tensor) -> Tensor:
        """A module's input x [tokens, width], or its gradient, scaled where it is kept, zero
        elsewhere."""
        if not x.is_cuda:
            return apply_mask(x, self.token_keys, feature_keys, self.keep)
        from trainable.engine.kernels.dropout_mask import mask_on_gpu

        return mask_on_gpu(x, self.token_keys, feature_keys, self.keep)


def make_feature_keys(module: str, width: int, device: torch.device) -> Tensor:
    """int32 [width]: what a token's key is added to for each feature of a module's input."""
    keys = torch.arange(width, device=device) * 0x9E3779B1 + combine("dropout", module)
    return keys.to(torch.int32)


def apply_mask(x: Tensor, token_keys: Tensor, feature_keys: Tensor, keep: Tensor) -> Tensor:
    """x [tokens, features], scaled where it is kept, zero elsewhere (a NaN there too)."""
    kept = uniform(token_keys + feature_keys) < keep
    return torch.where(kept, x.float() / keep, 0.0).to(x.dtype)


def multiply_kept(
    layout: Layout | Blocks,
    x: Tensor,
    dropout: Dropout | None,
    feature_keys: Tensor,
    w: Tensor,
    scale: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """What dropout leaves of x [tokens, in], and `layout.multiply` of that with w [slots, in, out]
    and scale: [tokens, out]."""
    if dropout is None:
        return x, layout.multiply(x, w, scale)
    if isinstance(layout, Blocks) and has_kernels(x):
        from trainable.engine.kernels.dropout_mask import multiply_kept_blocks

        mask = dropout.token_keys, feature_keys, dropout.keep
        return multiply_kept_blocks(x, mask, w, layout.slots, scale)
    kept = dropout.apply(x, feature_keys)
    return kept, layout.multiply(kept, w, scale)


def add_kept_product(
    layout: Layout | Blocks,
    y: Tensor,
    x: Tensor,
    w: Tensor,
    dropout: Dropout | None,
    feature_keys: Tensor,
) -> Tensor:
    """y [tokens, out] and what dropout leaves of `layout.multiply(x, w)`; y may be overwritten."""
    if dropout is None:
        return layout.add_product(y, x, w)
    if isinstance(layout, Blocks) and has_kernels(x):
        from trainable.engine.kernels.dropout_mask import add_kept_blocks

        mask = dropout.token_keys, feature_keys, dropout.keep
        return add_kept_blocks(y, x, w, mask, layout.slots)
    return y.add_(dropout.apply(layout.multiply(x, w), feature_keys))
