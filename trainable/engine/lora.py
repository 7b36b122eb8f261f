"""The LoRA part of a linear layer for all slots of a pass at once.

y = base(x) + scale_s * dropout(x) A_s B_s for the tokens of slot s (LoRA, arXiv 2106.09685). The
tokens of a pass lie slot after slot, so each product is one kernel whatever the number of slots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainable.engine.bank import ModuleShape, SlotBank, SlotRange
from trainable.engine.counter import MASK, combine, mix
from trainable.engine.fusion import fused
from trainable.engine.transfer import to_device


@dataclass(frozen=True)
class Layout:
    """Which tokens of a pass belong to which slot. Slots without tokens take no part; unlike
    numbers of tokens are padded to the largest, so that a product is one batched kernel."""

    counts: tuple[int, ...]  # tokens of each slot of the range
    token_slots: Tensor  # int64 [tokens]: each token's slot within the range
    present: Tensor | None  # int64: the slots that have tokens; None: all
    to_even: Tensor | None  # int64 [present, most]: token or, for padding, their number; None: even
    from_even: Tensor | None  # int64 [tokens]: place in the flattened even shape

    @classmethod
    def of(cls, counts: Sequence[int], device: torch.device) -> Layout:
        sizes = np.asarray(counts, dtype=np.int64)
        token_slots = to_device(np.repeat(np.arange(len(sizes)), sizes), device)
        present = None if sizes.all() else to_device(np.flatnonzero(sizes), device)
        sizes = sizes[sizes > 0]
        if len(set(sizes.tolist())) <= 1:
            return cls(tuple(counts), token_slots, present, None, None)
        columns = np.arange(sizes.max())
        is_real = columns < sizes[:, None]
        starts = (sizes.cumsum() - sizes)[:, None]
        return cls(
            counts=tuple(counts),
            token_slots=token_slots,
            present=present,
            to_even=to_device(np.where(is_real, starts + columns, sizes.sum()), device),
            from_even=to_device(np.flatnonzero(is_real), device),
        )


@dataclass(frozen=True)
class Dropout:
    """What decides the masks of a pass: one key a token (mixed of its slot's seed, its dialogue's
    place in the data order, its position), and one keep probability a token."""

    token_keys: Tensor  # int64 [tokens, 1]
    keep: Tensor  # float32 [tokens, 1]


class PackedLinear(nn.Module):
    """A frozen linear layer with every slot's adapter on it."""

    def __init__(self, base: nn.Module, name: str) -> None:
        super().__init__()
        self.base = base
        self.key: Tensor
        key = torch.tensor(combine("dropout", name), device=device_of(base))
        self.register_buffer("key", key, persistent=False)  # a tensor: one compiled code for all
        self.a: Tensor | None = None  # [slots, in, rank]
        self.b: Tensor | None = None  # [slots, rank, out]
        self.scale: Tensor | None = None  # [slots, 1, 1]; None: it is in b already
        self.layout: Layout | None = None
        self.dropout: Dropout | None = None

    def forward(self, x: Tensor) -> Tensor:  # [..., tokens, in] -> [..., tokens, out]
        y = self.base(x)
        if self.a is None:
            return y
        assert self.b is not None and self.layout is not None
        flat = x.reshape(-1, x.shape[-1])  # [tokens, in]
        if self.dropout is not None:
            flat = drop(flat, self.dropout, self.key)
        b = self.b.to(flat.dtype) if self.scale is None else self._scaled(flat.dtype)
        a = self.a.to(flat.dtype)
        # bitsandbytes' results may not be changed in place
        add = Tensor.baddbmm_ if type(self.base) is nn.Linear else torch.baddbmm
        return add_product(y.flatten(0, -2), flat, a, b, self.layout, add).view_as(y)

    def _scaled(self, dtype: torch.dtype) -> Tensor:
        scaled: Tensor = fused(scale_to, self.scale.device)(self.b, self.scale, dtype)  # type: ignore[union-attr]
        return scaled


def scale_to(b: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    return (b * scale).to(dtype)


def add_product(
    y: Tensor, x: Tensor, a: Tensor, b: Tensor, layout: Layout, add: Callable[..., Tensor]
) -> Tensor:
    """y [tokens, out] + x [tokens, in] times each token's own slot's a [slots, in, rank] and
    b [slots, rank, out]. `add`: baddbmm, in place or not."""
    if layout.present is not None:
        a, b = a[layout.present], b[layout.present]
    if layout.to_even is None or layout.from_even is None:
        shape = (a.shape[0], -1)
        low = torch.bmm(x.unflatten(0, shape), a)
        return add(y.unflatten(0, shape), low, b).flatten(0, 1)
    even: Tensor = Spread.apply(x, layout.to_even, layout.from_even)
    product = torch.bmm(torch.bmm(even, a), b)
    collected: Tensor = Collect.apply(product, layout.to_even, layout.from_even)
    return y + collected


class Spread(torch.autograd.Function):
    """Tokens [tokens, features] to the even shape [slots, most, features] of a layout; a padded
    place is zero, and nothing leaks from it. Its gradient is `collect`: torch's own for an index
    would sort and add up the padded places one by one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, to_even: Tensor, from_even: Tensor) -> Tensor:
        ctx.save_for_backward(from_even)
        return spread(x, to_even)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return collect(grads[0], *ctx.saved_tensors), None, None


class Collect(torch.autograd.Function):
    """The way back, whose gradient is `spread`."""

    @staticmethod
    def forward(ctx: Any, even: Tensor, to_even: Tensor, from_even: Tensor) -> Tensor:
        ctx.save_for_backward(to_even)
        return collect(even, from_even)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return spread(grads[0], *ctx.saved_tensors), None, None


def spread(x: Tensor, to_even: Tensor) -> Tensor:
    return F.pad(x, (0, 0, 0, 1))[to_even]


def collect(even: Tensor, from_even: Tensor) -> Tensor:
    return even.flatten(0, 1)[from_even]


def drop(x: Tensor, dropout: Dropout, module_key: Tensor) -> Tensor:
    """Inverted dropout whose mask is a function of the token's key, the module and the feature."""
    dropped: Tensor = MaskedDrop.apply(x, dropout.token_keys, dropout.keep, module_key)
    return dropped


class MaskedDrop(torch.autograd.Function):
    """Dropout that keeps no mask for the backward pass: it draws the same one again."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, token_keys: Tensor, keep: Tensor, module_key: Tensor
    ) -> Tensor:
        # Not in the kernel: there torch 2.11 makes it a number of 32 bits, which it does not fit
        features = torch.arange(x.shape[-1], device=x.device) * 0x9E3779B1
        keys = token_keys + module_key
        ctx.save_for_backward(keys, features, keep)
        return fused(apply_mask, x.device)(x, keys, features, keep)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = grads
        return fused(apply_mask, grad.device)(grad, *ctx.saved_tensors), None, None, None


def apply_mask(x: Tensor, token_keys: Tensor, features: Tensor, keep: Tensor) -> Tensor:
    """x [tokens, features], scaled where it is kept, zero elsewhere (a NaN there too)."""
    draws = mix((token_keys + features) & MASK)
    kept = draws < (keep * 2.0**32).to(torch.int64)
    return torch.where(kept, x / keep.to(x.dtype), torch.zeros((), dtype=x.dtype, device=x.device))


def install(model: nn.Module, names: tuple[str, ...]) -> dict[str, PackedLinear]:
    """Replaces the named linear layers by packed ones, in place."""
    packed = {}
    for name in names:
        parent, _, leaf = name.rpartition(".")
        owner = model.get_submodule(parent)
        packed[name] = PackedLinear(getattr(owner, leaf), name)
        setattr(owner, leaf, packed[name])
    return packed


def device_of(layer: nn.Module) -> torch.device:
    return next(layer.parameters()).device


def shape_of(layer: nn.Module) -> ModuleShape:
    return ModuleShape(int(layer.in_features), int(layer.out_features))  # type: ignore[arg-type]


class Adapters:
    """The link between a bank and the packed layers of a model: sets what a pass will use."""

    def __init__(self, bank: SlotBank, layers: dict[str, PackedLinear]) -> None:
        self.bank = bank
        self.layers = layers
        self.trained: SlotRange | None = None  # the range whose leaves hang in the layers

    def begin_training(self, span: SlotRange, layout: Layout, dropout: Dropout | None) -> None:
        """The range's weights as autograd leaves whose gradients are the bank's own rows."""
        if self.trained != span:
            self._hang_leaves(span)
            self.trained = span
        self._set_pass(layout, self._scales(span), dropout)

    def begin_inference(self, span: SlotRange, layout: Layout, dtype: torch.dtype) -> None:
        """The range's weights as plain tensors in the model's dtype, scaled and cast once for many
        passes."""
        self.invalidate()
        scale = self._scales(span)
        for name in self.bank.used_modules(span):
            a, b = self.bank.layout.stack(self.bank.params, name, span)
            self.layers[name].a, self.layers[name].b = a.to(dtype), (b * scale).to(dtype)
        self._set_pass(layout, None, None)

    def relayout(self, layout: Layout) -> None:
        """Another division of tokens among the slots of a begun inference."""
        self._set_pass(layout, None, None)

    def invalidate(self) -> None:
        """To be called when rows moved or slots changed: leaves are hung anew."""
        self.trained = None
        self._detach_all()

    def _hang_leaves(self, span: SlotRange) -> None:
        self._detach_all()
        for name in self.bank.used_modules(span):
            layer = self.layers[name]
            leaves = []
            for value, grad in zip(
                self.bank.layout.stack(self.bank.params, name, span),
                self.bank.layout.stack(self.bank.grads, name, span),
                strict=True,
            ):
                leaf = value.detach().requires_grad_()
                leaf.grad = grad
                leaves.append(leaf)
            layer.a, layer.b = leaves

    def _detach_all(self) -> None:
        for layer in self.layers.values():
            layer.a = layer.b = None

    def _scales(self, span: SlotRange) -> Tensor:
        return self.bank.scales[span.low : span.high, None, None]

    def _set_pass(self, layout: Layout, scale: Tensor | None, dropout: Dropout | None) -> None:
        for layer in self.layers.values():
            layer.layout, layer.scale, layer.dropout = layout, scale, dropout
