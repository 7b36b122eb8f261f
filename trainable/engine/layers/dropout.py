"""Dropout whose masks are functions of the token, the module and the feature, and never stored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
