"""The results of packed layers that read one input, with their adapters' parts, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainable.engine.layers.shared_input import (
    add_gradients,
    add_kept_products,
    multiply_each,
    multiply_kept,
)
from trainable.model import fp8
from trainable.model.fp8 import Fp8Linear

Given = tuple[Tensor | None, ...]  # of each layer


def add_adapters(layers: Sequence[Any], keys: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """What packed layers make of x [..., in]: [..., out] each. Some of them have adapters: keys
    [those, in] are their dropout's. The bases are all of one kind."""
    ys = [None if layer.is_known else layer.base(x).flatten(0, -2) for layer in layers]
    a, b = [layer.a for layer in layers], [layer.b for layer in layers]
    made = AddAdapters.apply(x.reshape(-1, x.shape[-1]), layers, keys, *ys, *a, *b)
    return tuple(y.unflatten(0, x.shape[:-1]) for y in made)


class AddAdapters(torch.autograd.Function):
    """The gradients of A and B are added up where they belong, in the bank's precision; that of the
    input is one tensor from the first product on, for all of the layers."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, layers: Sequence[Any], keys: Tensor, *given: Tensor | None
    ) -> Any:
        """x [tokens, in]; given: the base's results [tokens, out] where the bases compute them
        themselves, the A's and the B's of those with adapters."""
        n = len(layers)
        ys: list[Any] = list(given[:n])
        ctx.is_own, ctx.layers = ys[0] is None, layers
        if ctx.is_own:
            ys = multiply_bases([layer.base for layer in layers], x)
        places = [place for place, layer in enumerate(layers) if layer.a is not None]
        ctx.adapted = [layers[place] for place in places]
        a, b = (
            [w.to(x.dtype) for w in side if w is not None] for side in (given[n:-n], given[-n:])
        )
        now, scales = layers[0].now, list_scales(ctx.adapted)
        kept, lows = multiply_kept(now.layout, x, now.dropout, keys, a, scales)
        for place, low, w in zip(places, lows, b, strict=True):
            y = ys[place]
            if ctx.is_own:
                ys[place] = now.layout.add_product(y, low, w)
            else:  # not in place: bitsandbytes' may not be changed
                ys[place] = y + now.layout.multiply(low, w)
        ctx.save_for_backward(kept, lows, keys, *a, *b)
        return tuple(ys)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Given:  # [tokens, out] each
        kept, lows, keys, *weights = ctx.saved_tensors
        n, layout = len(ctx.adapted), ctx.layers[0].now.layout
        grads = tuple(grad.contiguous() for grad in grads)
        a, b = weights[:n], weights[n:]
        of = dict(zip(ctx.layers, grads, strict=True))
        own = [of[layer] for layer in ctx.adapted]
        scales = list_scales(ctx.adapted)
        grad_lows = multiply_each(layout, own, [w.mT for w in b], scales)
        add_gradients(layout, [layer.grads[0] for layer in ctx.adapted], kept, grad_lows)
        for layer, low, grad in zip(ctx.adapted, lows, own, strict=True):
            layout.add_gradients(layer.grads[1], low, grad)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = multiply_back(ctx, grads, kept)
            a, dropout = [w.mT for w in a], ctx.layers[0].now.dropout
            grad_x = add_kept_products(layout, grad_x, grad_lows, a, dropout, keys)
        of_bases = [None] * len(grads) if ctx.is_own else grads
        return grad_x, None, None, *of_bases, *[None] * (2 * len(grads))


def multiply_bases(bases: Sequence[Any], x: Tensor) -> list[Tensor]:
    """What each makes of x [tokens, in]: [tokens, out]."""
    if isinstance(bases[0], Fp8Linear):
        return fp8.multiply(bases, x)
    return [F.linear(x, base.weight, base.bias) for base in bases]


def multiply_back(ctx: Any, grads: Sequence[Tensor], kept: Tensor) -> Tensor:
    """The input's gradient [tokens, in] through the bases; zeros where autograd adds it."""
    if not ctx.is_own:
        return torch.zeros_like(kept[0])
    bases = [layer.base for layer in ctx.layers]
    if isinstance(bases[0], Fp8Linear):
        return fp8.multiply_back(bases, grads)
    total = grads[0] @ bases[0].weight
    for grad, base in zip(grads[1:], bases[1:], strict=True):
        total.addmm_(grad, base.weight)
    return total


def list_scales(layers: Sequence[Any]) -> list[Tensor]:
    """[slots] of each layer that has them."""
    return [layer.scale for layer in layers if layer.scale is not None]
