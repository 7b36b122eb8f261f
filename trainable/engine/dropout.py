"""Dropout whose masks are functions of the token, the module and the feature: nobody keeps them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainable.engine.counter import combine, uniform


@dataclass(frozen=True)
class Dropout:
    """What decides the masks of a pass: one key a token (mixed of its slot's seed, its dialogue's
    place in the data order, its position), and one keep probability a token."""

    token_keys: Tensor  # int32 [tokens, 1]
    keep: Tensor  # float32 [tokens, 1]

    def mask(self, feature_keys: Tensor) -> Mask:
        """A module's, for its input's features."""
        return Mask(self.token_keys, self.keep, feature_keys)


@dataclass(frozen=True)
class Mask:
    """Of a module's input [tokens, width], and of its gradient."""

    token_keys: Tensor  # int32 [tokens, 1]
    keep: Tensor  # float32 [tokens, 1]
    feature_keys: Tensor  # int32 [width]

    def apply(self, x: Tensor) -> Tensor:
        """x scaled where it is kept, zero elsewhere (a NaN there too)."""
        kept = uniform(self.token_keys + self.feature_keys) < self.keep
        return torch.where(kept, x.float() / self.keep, 0.0).to(x.dtype)


def make_feature_keys(module: str, width: int, device: torch.device) -> Tensor:
    """int32 [width]: what a token's key is added to for each feature of a module's input."""
    keys = torch.arange(width, device=device) * 0x9E3779B1 + combine("dropout", module)
    return keys.to(torch.int32)
