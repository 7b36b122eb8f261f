"""The LoRA part of a linear layer for all slots of a pass at once.

y = base(x) + scale_s * dropout(x) A_s B_s for the tokens of slot s (LoRA, arXiv 2106.09685). The
tokens of a pass lie slot after slot, so each product is one kernel whatever the number of slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainable.engine.layers.blocks import Blocks
from trainable.engine.layers.dora import AddMagnified, Drop, Magnitudes, measure_norms
from trainable.engine.layers.dropout import Dropout, make_feature_keys
from trainable.engine.layers.layout import Layout
from trainable.engine.layers.noise import Noise
from trainable.engine.layers.siblings import Siblings
from trainable.engine.slots.rows import ModuleShape
from trainable.model.fp8 import Fp8Linear, read_weight


@dataclass
class Pass:
    """What all layers of a pass have in common."""

    layout: Layout | Blocks | None = None
    dropout: Dropout | None = None
    noise: Noise | None = None  # on what the first layer reads


class PackedLinear(nn.Module):
    """A frozen linear layer with every slot's adapter on it."""

    def __init__(self, base: nn.Module, name: str, now: Pass) -> None:
        super().__init__()
        self.base, self.now = base, now
        self.is_plain = type(base) is nn.Linear  # not quantised
        self.is_known = self.is_plain or type(base) is Fp8Linear  # its product is made here
        self.feature_keys: Tensor
        keys = make_feature_keys(name, shape_of(base).in_features, next(base.parameters()).device)
        self.register_buffer("feature_keys", keys, persistent=False)
        self.alone = Siblings([self])
        self.together = self.alone  # with those that read the same input
        self.a: Tensor | None = None  # [slots, in, rank]
        self.b: Tensor | None = None  # [slots, rank, out]
        self.scale: Tensor | None = None  # [slots, 1, 1]; None: it is in the B's already
        self.grads: tuple[Tensor, Tensor] | None = None  # of both; None: nothing is learnt
        self.magnitudes: Magnitudes | None = None  # of slots with DoRA that learn; None: of none
        self.factors: Tensor | None = None  # [slots, out]: what they amount to, for replies
        self.merged: Tensor | None = None  # [out, in]: the base's weight with one adapter in it

    def merge(self) -> None:
        """Puts the one adapter, whose B is scaled, into a copy of the base's weight."""
        assert self.a is not None and self.b is not None
        weight: Tensor = self.base.weight  # type: ignore[assignment]
        if self.factors is not None:
            weight = (weight * self.factors.mT).to(weight.dtype)
        self.merged = torch.addmm(weight, self.b[0].mT, self.a[0].mT)

    def forward(self, x: Tensor) -> Tensor:  # [..., tokens, in] -> [..., tokens, out]
        if self.merged is not None:
            return F.linear(x, self.merged, self.base.bias)  # type: ignore[arg-type]
        if self.magnitudes is not None or self.factors is not None:
            magnify = self.learn if self.factors is None else self.reply
            return magnify(x.reshape(-1, x.shape[-1])).unflatten(0, x.shape[:-1])
        siblings = self.together if self.together.are_plain() else self.alone
        if siblings.compute_themselves():
            return siblings.compute(self, x)
        out: Tensor = self.base(x)
        return out

    def learn(self, x: Tensor) -> Tensor:
        """The result [tokens, out] for x [tokens, in] where slots have DoRA, while they learn: with
        dropout their part is of what is kept of x, and the base's of all of it (as in peft)."""
        assert self.a is not None and self.b is not None
        plain = kept = None
        if not self.is_plain:
            plain = kept = self.multiply_base(x)
            if self.now.dropout is not None:
                dropped: Tensor = Drop.apply(x, self.now.dropout, self.feature_keys)
                kept = self.multiply_base(dropped)
            plain = plain if self.base.bias is None else plain + self.base.bias  # type: ignore[operator]
        y: Tensor = AddMagnified.apply(x, plain, kept, self.a, self.b, self)
        return y

    def reply(self, x: Tensor) -> Tensor:
        """The same of averaged weights, whose factors are in B already."""
        layout = self.now.layout
        assert self.factors is not None and self.a is not None and self.b is not None
        assert layout is not None
        y = layout.scale_by(self.multiply_base(x), self.factors)
        y = layout.add_product(y, layout.multiply(x, self.a), self.b)
        return y if self.base.bias is None else y + self.base.bias  # type: ignore[operator]

    def fold(self, magnitudes: Magnitudes, b: Tensor) -> None:
        """For replies: A and B are set, B with its scale; b [slots, rank, out] is the same in the
        bank's precision."""
        assert self.b is not None
        self.factors = magnitudes.divide(self.measure_norms())
        self.b = (b * self.factors[:, None]).to(self.b.dtype)

    def multiply_base(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out], without the bias."""
        if self.is_plain:
            return F.linear(x, self.base.weight)  # type: ignore[arg-type]
        y: Tensor = self.base(x)
        return y if self.base.bias is None else y - self.base.bias  # type: ignore[operator]

    @torch.no_grad()
    def measure_norms(self) -> Tensor:
        """[slots, out]: of each output's weights with the adapters in them."""
        assert self.a is not None and self.b is not None
        product = self.multiply_base(self.a.mT.flatten(0, 1)).unflatten(0, self.a.mT.shape[:2])
        return measure_norms(self.squares, product, self.a, self.b, self.scale)

    @cached_property
    def squares(self) -> Tensor:
        """float32 [out]: of the base's weights, summed for each output."""
        return read_weight(self.base).float().square().sum(1)


def add_noise(model: Any, now: Pass) -> None:
    """In place: embeddings have the noise of the pass, where it has some."""

    def hook(embeddings: nn.Module, inputs: Any, x: Tensor) -> Tensor:  # [..., width]
        return x if now.noise is None else now.noise.add(x)

    model.get_input_embeddings().register_forward_hook(hook)


def install(model: nn.Module, names: tuple[str, ...], now: Pass) -> dict[str, PackedLinear]:
    """Replaces the named linear layers by packed ones, in place."""
    packed = {}
    for name in names:
        parent, _, leaf = name.rpartition(".")
        owner = model.get_submodule(parent)
        packed[name] = PackedLinear(getattr(owner, leaf), name, now)
        setattr(owner, leaf, packed[name])
    return packed


def shape_of(layer: nn.Module) -> ModuleShape:
    return ModuleShape(int(layer.in_features), int(layer.out_features))  # type: ignore[arg-type]
