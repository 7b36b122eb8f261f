"""Dropout whose masks are functions of the token, the module and the feature: nobody keeps them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainable.engine.counter import MASK, mix
from trainable.engine.fusion import fused


@dataclass(frozen=True)
class Dropout:
    """What decides the masks of a pass: one key a token (mixed of its slot's seed, its dialogue's
    place in the data order, its position), and one keep probability a token."""

    token_keys: Tensor  # int64 [tokens, 1]
    keep: Tensor  # float32 [tokens, 1]


class Mask:
    """One module's, forward and backward."""

    def __init__(self, dropout: Dropout, module_key: Tensor, width: int) -> None:
        # Not in the kernel: there torch 2.11 makes it a number of 32 bits, which it does not fit
        self.features = torch.arange(width, device=module_key.device) * 0x9E3779B1
        self.keys, self.keep = dropout.token_keys + module_key, dropout.keep

    def apply(self, x: Tensor) -> Tensor:
        """x [tokens, width], scaled where it is kept, zero elsewhere."""
        return fused(apply_mask, x.device)(x, self.keys, self.features, self.keep)


def apply_mask(x: Tensor, token_keys: Tensor, features: Tensor, keep: Tensor) -> Tensor:
    """x [tokens, features], scaled where it is kept, zero elsewhere (a NaN there too)."""
    draws = mix((token_keys + features) & MASK)
    kept = draws < (keep * 2.0**32).to(torch.int64)
    return torch.where(kept, x / keep.to(x.dtype), torch.zeros((), dtype=x.dtype, device=x.device))
