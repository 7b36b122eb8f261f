"""The link between a bank and the packed layers of a model: what a pass will use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainable.engine.layers.blocks import Blocks
from trainable.engine.layers.dora import Magnitudes
from trainable.engine.layers.dropout import Dropout
from trainable.engine.layers.layout import Layout
from trainable.engine.layers.lora import Pass, add_noise, install
from trainable.engine.layers.noise import Noise
from trainable.engine.layers.siblings import Siblings, find_siblings
from trainable.engine.slots.bank import SlotBank
from trainable.engine.slots.rows import SlotRange

# On a CPU a trial alone, read by many small passes, is worth a copy of its layers
MERGED_PARAMS = 2**25


class Adapters:
    """Sets what the layers compute with."""

    def __init__(self, bank: SlotBank, model: nn.Module) -> None:
        """Puts packed layers into the model, in place of the bank's modules."""
        self.bank = bank
        self.now = Pass()
        add_noise(model, self.now)
        self.layers = install(model, tuple(bank.layout.shapes), self.now)
        self.trained: Any = None  # the range and modules whose own rows hang in the layers
        n_params = sum(s.in_features * s.out_features for s in bank.layout.shapes.values())
        is_alone = bank.slots == 1 and all(layer.is_plain for layer in self.layers.values())
        self.can_merge = is_alone and bank.device.type == "cpu" and n_params <= MERGED_PARAMS

    def join_siblings(self, run: Callable[[], Any]) -> None:
        """Layers that read the same input in one pass of the model, `run`, compute together."""
        for group in find_siblings(list(self.layers.values()), run):
            together = Siblings(group)
            for layer in group:
                layer.together = together

    def begin_training(
        self,
        span: SlotRange,
        modules: tuple[str, ...],
        layout: Layout | Blocks,
        dropout: Dropout | None,
        noise: Noise | None,
        dtype: torch.dtype,
    ) -> None:
        """The range's weights in the model's dtype, and the bank's own rows for their gradients."""
        if self.trained != (span, modules) or dtype != self.bank.params.dtype:
            self._bind_weights(span, modules, dtype)
            self.trained = span, modules
        self.now.layout, self.now.dropout, self.now.noise = layout, dropout, noise

    def begin_inference(self, span: SlotRange, layout: Layout, dtype: torch.dtype) -> None:
        """The range's averaged weights in the model's dtype, scaled and cast once for many passes:
        what is scored is what is saved."""
        self.invalidate()
        for name in self.bank.used_modules(span):
            layer, (a, b) = self.layers[name], self.bank.layout.stack(self.bank.average, name, span)
            b = b * self.bank.scale_of(name, span)
            layer.a, layer.b = a.to(dtype), b.to(dtype)
            magnitudes = self._find_magnitudes(name, span, self.bank.average, None)
            if magnitudes is not None:
                layer.fold(magnitudes, b)
            if self.can_merge:
                layer.merge()
        self.relayout(layout)

    def relayout(self, layout: Layout | Blocks) -> None:
        """Another division of tokens among the slots of a begun inference."""
        self.now.layout, self.now.dropout, self.now.noise = layout, None, None

    def invalidate(self) -> None:
        """To be called when rows moved or slots changed."""
        self.trained = None
        for layer in self.layers.values():
            layer.a = layer.b = layer.scale = layer.grads = None
            layer.magnitudes = layer.factors = layer.merged = None
            layer.together.forget()

    def _bind_weights(self, span: SlotRange, modules: tuple[str, ...], dtype: torch.dtype) -> None:
        """As leaves, so that autograd calls for their gradients even where x has none."""
        self.invalidate()
        stack, everyone = self.bank.layout.stack, SlotRange(0, len(span))
        params = self.bank.params[span.low : span.high].to(dtype)  # at once: one kernel, not 400
        for name in modules:
            layer, (a, b) = self.layers[name], stack(params, name, everyone)
            layer.a, layer.b = a.detach().requires_grad_(), b.detach().requires_grad_()
            layer.grads = stack(self.bank.grads, name, span)
            layer.scale = self.bank.scale_of(name, span)
            grads = self.bank.grads
            layer.magnitudes = self._find_magnitudes(name, span, self.bank.params, grads)

    def _find_magnitudes(
        self, name: str, span: SlotRange, rows: Tensor, grads: Tensor | None
    ) -> Magnitudes | None:
        """Of that layer, in the bank's precision, out of rows and gradients [slots, row width];
        None where no slot of the range has any."""
        if not any(name in self.bank.magnified[row] for row in range(span.low, span.high)):
            return None
        find = self.bank.layout.magnitudes
        is_used = self.bank.find_magnified(name, span)
        own_grads = None if grads is None else find(grads, name, span)
        return Magnitudes(find(rows, name, span), is_used, own_grads)
