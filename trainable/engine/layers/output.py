"""From hidden states to logits: the output layer, and what an architecture puts behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class Output:
    """logits = cap * tanh(scale * (hidden W^T + bias) / cap)"""

    weight: Tensor  # [vocabulary, width]
    bias: Tensor | None = None  # [vocabulary]
    scale: float = 1.0
    cap: float | None = None

    @classmethod
    def of(cls, model: Any) -> Output:
        """A model's, with the scale and the soft cap that its configuration names (granite divides,
        cohere multiplies, gemma caps). The engine's self-check finds what no field names."""
        layer, sizes = model.get_output_embeddings(), model.config.get_text_config()
        divisor = getattr(sizes, "logits_scaling", None) or 1.0
        factor = getattr(sizes, "logit_scale", None) or 1.0
        cap = getattr(sizes, "final_logit_softcapping", None)
        bias = getattr(layer, "bias", None)
        return cls(weight=layer.weight, bias=bias, scale=factor / divisor, cap=cap)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [..., width] -> [..., vocabulary]"""
        return self.shape(F.linear(hidden, self.weight, self.bias))

    def scores(self, hidden: Tensor) -> Tensor:
        """`logits` in 32 bits, [..., vocabulary]. In 16 they are steps of 1/8 nat where they are
        large, and of two tokens on the same step the one with the lower id would be taken as the
        likeliest."""
        if hidden.is_cuda and hidden.dtype != torch.float32:
            flat = torch.mm(hidden.flatten(0, -2), self.weight.T, out_dtype=torch.float32)
            logits = flat.view(*hidden.shape[:-1], -1)
        else:
            logits = hidden.float() @ self.weight.float().T
        return self.shape(logits if self.bias is None else logits + self.bias)

    def shape(self, logits: Tensor) -> Tensor:
        """[..., vocabulary] -> the same, scaled and capped."""
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.cap is not None:
            logits = torch.tanh(logits / self.cap) * self.cap
        return logits

    def slope(self, logits: Tensor) -> Tensor | None:
        """The derivative [..., vocabulary] of these logits in what is capped; None: no cap."""
        return None if self.cap is None else 1.0 - (logits / self.cap).square()

    def input_gradient(self, grad_logits: Tensor, slope: Tensor | None) -> Tensor:
        """The gradient [..., width] of the hidden states from that of the logits."""
        if slope is not None:
            grad_logits = grad_logits * slope
        grad = grad_logits @ self.weight
        return grad if self.scale == 1.0 else grad * self.scale
