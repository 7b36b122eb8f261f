"""The link between a bank and the packed layers of a model: what a pass will use."""

from __future__ import annotations

import torch
from torch import Tensor

from trainable.engine.bank import SlotBank, SlotRange
from trainable.engine.dropout import Dropout
from trainable.engine.layout import Layout
from trainable.engine.lora import PackedLinear


class Adapters:
    """Sets what the layers compute with."""

    def __init__(self, bank: SlotBank, layers: dict[str, PackedLinear]) -> None:
        self.bank = bank
        self.layers = layers
        self.trained: SlotRange | None = None  # the range whose own rows hang in the layers

    def begin_training(
        self, span: SlotRange, layout: Layout, dropout: Dropout | None, dtype: torch.dtype
    ) -> None:
        """The range's weights in the model's dtype, and the bank's own rows for their gradients."""
        if self.trained != span or dtype != self.bank.params.dtype:
            self._hang_rows(span, dtype)
            self.trained = span
        self._set_pass(layout, self._scales(span), dropout)

    def begin_inference(self, span: SlotRange, layout: Layout, dtype: torch.dtype) -> None:
        """The range's weights in the model's dtype, scaled and cast once for many passes."""
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
        """To be called when rows moved or slots changed."""
        self.trained = None
        for layer in self.layers.values():
            layer.a = layer.b = layer.grads = None

    def _hang_rows(self, span: SlotRange, dtype: torch.dtype) -> None:
        """As leaves, so that autograd calls for their gradients even where x has none."""
        self.invalidate()
        stack, everyone = self.bank.layout.stack, SlotRange(0, len(span))
        params = self.bank.params[span.low : span.high].to(dtype)  # at once: one kernel, not 400
        for name in self.bank.used_modules(span):
            layer, (a, b) = self.layers[name], stack(params, name, everyone)
            layer.a, layer.b = a.detach().requires_grad_(), b.detach().requires_grad_()
            layer.grads = stack(self.bank.grads, name, span)

    def _scales(self, span: SlotRange) -> Tensor:
        return self.bank.scales[span.low : span.high, None, None]

    def _set_pass(self, layout: Layout, scale: Tensor | None, dropout: Dropout | None) -> None:
        for layer in self.layers.values():
            layer.layout, layer.scale, layer.dropout = layout, scale, dropout
