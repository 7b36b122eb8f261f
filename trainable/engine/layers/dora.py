"""DoRA (arXiv 2402.09353) for all slots of a pass at once:

y = bias + m / |W + scale_s (A_s B_s)^T| * (W x + scale_s x A_s B_s)

with the norm of each output's weights, through which no gradient goes, as in peft. It is had from
products of W with A, so that W is never dequantised and no slot has a weight of its own. Slots
without magnitudes have the factor 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainable.engine.layers.blocks import Blocks
from trainable.engine.layers.dropout import Dropout
from trainable.engine.layers.layout import Layout

TINY = 1e-20  # of a squared norm


@dataclass(frozen=True)
class Magnitudes:
    """Of one layer's outputs, in 32 bits."""

    values: Tensor  # [slots, out]
    is_used: Tensor  # bool [slots, 1]
    grads: Tensor | None  # [slots, out]; None: nothing is learnt

    def divide(self, norms: Tensor) -> Tensor:
        """[slots, out]: what each output is multiplied by."""
        return torch.where(self.is_used, self.values / norms, 1.0)


@torch.no_grad()
def measure_norms(
    squares: Tensor, product: Tensor, a: Tensor, b: Tensor, scale: Tensor | None
) -> Tensor:
    """|W + scale (A B)^T| of each output [slots, out], of W's own squared norms [out] and W A as
    product [slots, rank, out], a [slots, in, rank], b [slots, rank, out], scale [slots, 1, 1]."""
    a, b = a.float(), b.float() if scale is None else b.float() * scale
    across = (product.float() * b).sum(1)
    own = (b * ((a.mT @ a) @ b)).sum(1)
    return (squares + 2 * across + own).clamp(min=TINY).sqrt()


class Magnify(torch.autograd.Function):
    """Each token's outputs times its slot's factors. The magnitudes' gradients are added up where
    they belong."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, norms: Tensor, magnitudes: Magnitudes, layout: Layout | Blocks
    ) -> Tensor:
        """y [tokens, out], norms [slots, out]"""
        ctx.magnitudes, ctx.layout = magnitudes, layout
        ctx.save_for_backward(y, norms)
        return layout.scale_by(y, magnitudes.divide(norms))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,), (y, norms) = grads, ctx.saved_tensors
        magnitudes, layout = ctx.magnitudes, ctx.layout
        if magnitudes.grads is not None:
            share = torch.where(magnitudes.is_used, 1 / norms, 0.0)
            own = layout.scale_by(grad * y, share)
            layout.add_gradients(magnitudes.grads[:, None], torch.ones_like(own[:, :1]), own)
        return layout.scale_by(grad, magnitudes.divide(norms)), None, None, None


class Drop(torch.autograd.Function):
    """Dropout of a layer's input x [tokens, in]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dropout: Dropout, feature_keys: Tensor) -> Tensor:
        ctx.dropout, ctx.feature_keys = dropout, feature_keys
        return dropout.apply(x, feature_keys)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return ctx.dropout.apply(grads[0].contiguous(), ctx.feature_keys), None, None
