"""The link between a bank and the packed layers of a model: what a pass will use."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trainable.engine.layers.blocks import Blocks
from trainable.engine.layers.dropout import Dropout
from trainable.engine.layers.layout import Layout
from trainable.engine.layers.lora import Pass, install
from trainable.engine.slots.bank import SlotBank, SlotRange

# On a CPU a trial alone, read by many small passes, is worth a copy of its layers
MERGED_PARAMS = 2**25


class Adapters:
    """Sets what the layers compute with."""

    def __init__(self, bank: SlotBank, model: nn.Module) -> None:
        """Puts packed layers into the model, in place of the bank's modules."""
        self.bank = bank
        self.now = Pass()
        self.layers = install(model, tuple(bank.layout.shapes), self.now)
        self.trained: Any = None  # the range and modules whose own rows hang in the layers
        n_params = sum(s.in_features * s.out_features for s in bank.layout.shapes.values())
        is_alone = bank.slots == 1 and all(layer.is_plain for layer in self.layers.values())
        self.can_merge = is_alone and bank.device.type == "cpu" and n_params <= MERGED_PARAMS

    def begin_training(
        self,
        span: SlotRange,
        modules: tuple[str, ...],
        layout: Layout | Blocks,
        dropout: Dropout | None,
        dtype: torch.dtype,
    ) -> None:
        """The range's weights in the model's dtype, and the bank's own rows for their gradients."""
        if self.trained != (span, modules) or dtype != self.bank.params.dtype:
            self._bind_weights(span, modules, dtype)
            self.trained = span, modules
        self._set_pass(layout, self._scales(span), dropout)

    def begin_inference(self, span: SlotRange, layout: Layout, dtype: torch.dtype) -> None:
        """The range's averaged weights in the model's dtype, scaled and cast once for many passes:
        what is scored is what is saved."""
        self.invalidate()
        scale = self._scales(span)
        for name in self.bank.used_modules(span):
            a, b = self.bank.layout.stack(self.bank.average, name, span)
            self.layers[name].a, self.layers[name].b = a.to(dtype), (b * scale).to(dtype)
            if self.can_merge:
                self.layers[name].merge()
        self._set_pass(layout, None, None)

    def relayout(self, layout: Layout | Blocks) -> None:
        """Another division of tokens among the slots of a begun inference."""
        self._set_pass(layout, None, None)

    def invalidate(self) -> None:
        """To be called when rows moved or slots changed."""
        self.trained = None
        for layer in self.layers.values():
            layer.a = layer.b = layer.grads = layer.merged = None

    def _bind_weights(self, span: SlotRange, modules: tuple[str, ...], dtype: torch.dtype) -> None:
        """As leaves, so that autograd calls for their gradients even where x has none."""
        self.invalidate()
        stack, everyone = self.bank.layout.stack, SlotRange(0, len(span))
        params = self.bank.params[span.low : span.high].to(dtype)  # at once: one kernel, not 400
        for name in modules:
            layer, (a, b) = self.layers[name], stack(params, name, everyone)
            layer.a, layer.b = a.detach().requires_grad_(), b.detach().requires_grad_()
            layer.grads = stack(self.bank.grads, name, span)

    def _scales(self, span: SlotRange) -> Tensor:
        return self.bank.scales[span.low : span.high, None, None]

    def _set_pass(
        self, layout: Layout | Blocks, scale: Tensor | None, dropout: Dropout | None
    ) -> None:
        self.now.layout, self.now.scale, self.now.dropout = layout, scale, dropout
