"""DoRA (arXiv 2402.09353) for all slots of a pass at once:

y = W x + bias + (f - 1) * W d(x) + f * scale_s d(x) A_s B_s, f = m / |W + scale_s (A_s B_s)^T|

with dropout d and the norm of each output's weights, through which no gradient goes, as in peft. It
is had from products of W with A, so that W is never dequantised and no slot has a weight of its
own. Slots without magnitudes have the factor 1. Factors are in 32 bits: in 16, near 1, there would
be little to learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainable.engine.layers.blocks import Blocks, has_kernels, multiply_in_32_bits
from trainable.engine.layers.dropout import Dropout
from trainable.engine.layers.layout import Layout, multiply_into

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

    def add_gradients(self, along: Tensor, norms: Tensor) -> None:
        """`along` [slots, out]: the sums over tokens of the gradient times what is magnified."""
        assert self.grads is not None
        self.grads.add_(torch.where(self.is_used, along / norms, 0.0))


@torch.no_grad()
def measure_norms(
    squares: Tensor, product: Tensor, a: Tensor, b: Tensor, scale: Tensor | None
) -> Tensor:
    """|W + scale (A B)^T| of each output [slots, out], of W's own squared norms [out] and W A as
    product [slots, rank, out], a [slots, in, rank], b [slots, rank, out], scale [slots, 1, 1]."""
    b = b.float() if scale is None else b * scale  # in 32 bits
    squared = multiply_in_32_bits(a.mT, a)
    change = (b * torch.baddbmm(product.float(), squared, b, beta=2)).sum(1)
    return (squares + change).clamp_(min=TINY).sqrt_()


class AddMagnified(torch.autograd.Function):
    """A layer's result with the adapters' part, where slots have DoRA. The gradients of A, B and
    magnitudes are added up where they belong, in the bank's precision."""

    @staticmethod
    def forward(  # noqa: PLR0913
        ctx: Any,
        x: Tensor,
        plain: Tensor | None,
        kept: Tensor | None,
        a: Tensor,
        b: Tensor,
        layer: Any,
    ) -> Tensor:
        """x [tokens, in]; plain, kept [tokens, out]: W x + bias and W d(x), where the base computes
        them itself."""
        layout, dropout = layer.now.layout, layer.now.dropout
        dropped = x if dropout is None else dropout.apply(x, layer.feature_keys)
        ctx.layer, ctx.is_own = layer, kept is None
        if kept is None:
            kept = F.linear(dropped, layer.base.weight)
            plain = kept if dropout is None else F.linear(x, layer.base.weight)
            plain = plain if layer.base.bias is None else plain + layer.base.bias
        assert plain is not None
        norms = layer.measure_norms()
        factors = layer.magnitudes.divide(norms)
        a, b = a.to(x.dtype), b.to(x.dtype)
        low = layout.multiply(dropped, a, layer.scale)  # [tokens, rank]
        ctx.save_for_backward(dropped, kept, low, a, b, norms, factors)
        return add_magnified(layout, plain, kept, low, b, factors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # [tokens, out]
        dropped, kept, low, a, b, norms, factors = ctx.saved_tensors
        layer, layout, grad = ctx.layer, ctx.layer.now.layout, grads[0].contiguous()
        grad_a, grad_b = layer.grads
        # of the kept part where dropout has parted it from the plain one, of both where not
        shares = factors if layer.now.dropout is None else factors - 1
        grad_kept, along = magnify_gradient(layout, grad, kept, shares)
        of_b = torch.zeros_like(grad_b)
        layout.add_gradients(of_b, low, grad)
        layer.magnitudes.add_gradients(along + (b * of_b).sum(1), norms)
        grad_b.addcmul_(of_b, factors[:, None])
        magnified = multiply_into(b, factors[:, None])
        grad_low = layout.multiply(grad, magnified.mT, layer.scale)
        layout.add_gradients(grad_a, dropped, grad_low)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = input_gradient(ctx, grad, grad_kept, grad_low, a)
        if ctx.is_own:
            return grad_x, None, None, None, None, None
        grad_plain = None if layer.now.dropout is None else grad
        return grad_x, grad_plain, grad_kept, None, None, None


def input_gradient(
    ctx: Any, grad: Tensor, grad_kept: Tensor, grad_low: Tensor, a: Tensor
) -> Tensor:
    """The gradient of x [tokens, in]: through the adapters, and through the base where autograd
    does not know it."""
    weight, now = ctx.layer.base.weight, ctx.layer.now
    grad_x: Tensor
    if ctx.is_own:
        grad_x = now.layout.add_product(grad_kept @ weight, grad_low, a.mT)
    else:
        grad_x = now.layout.multiply(grad_low, a.mT)
    if now.dropout is None:
        return grad_x
    grad_x = now.dropout.apply(grad_x, ctx.layer.feature_keys)
    return grad_x.addmm_(grad, weight) if ctx.is_own else grad_x


def add_magnified(
    layout: Layout | Blocks, plain: Tensor, kept: Tensor, low: Tensor, b: Tensor, factors: Tensor
) -> Tensor:
    """plain + (factors - 1) kept + factors low B, of [tokens, out] each, low [tokens, rank] with
    its scale, b [slots, rank, out], factors [slots, out]."""
    if isinstance(layout, Blocks) and has_kernels(plain):
        from trainable.engine.kernels.magnified import add_magnified_blocks

        return add_magnified_blocks(plain, kept, low, b, factors, layout.slots)
    magnified = layout.scale_by(kept, factors - 1).add_(plain)
    return layout.add_product(magnified, low, multiply_into(b, factors[:, None]))


def magnify_gradient(
    layout: Layout | Blocks, grad: Tensor, kept: Tensor, shares: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradient [tokens, out] times its slot's shares [slots, out], and the sums [slots, out] in
    32 bits over each slot's tokens of the gradient times what is kept. Every slot has tokens."""
    if isinstance(layout, Blocks) and has_kernels(grad):
        from trainable.engine.kernels.magnified import magnify_gradient_blocks

        scaled, sums = magnify_gradient_blocks(grad, kept, shares, layout.slots)
        return scaled, layout.sum_blocks(sums)
    return layout.scale_by(grad, shares), layout.sum_tokens(grad.float() * kept)


class Drop(torch.autograd.Function):
    """Dropout of a layer's input x [tokens, in]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dropout: Dropout, feature_keys: Tensor) -> Tensor:
        ctx.dropout, ctx.feature_keys = dropout, feature_keys
        return dropout.apply(x, feature_keys)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return ctx.dropout.apply(grads[0].contiguous(), ctx.feature_keys), None, None
