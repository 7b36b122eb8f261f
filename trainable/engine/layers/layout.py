"""Which tokens of a pass belong to which slot, and products of each slot's with its own matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trainable.engine.device.transfer import to_device


@dataclass(frozen=True)
class Layout:
    """Tokens lie slot after slot. Slots without tokens take no part; unlike numbers of tokens are
    padded to the largest, so that a product is one batched kernel."""

    counts: tuple[int, ...]  # tokens of each slot of the range
    present: Tensor | None  # int64: the slots that have tokens; None: all
    to_even: Tensor | None  # int64 [present, most]: token or, for padding, their number; None: even
    from_even: Tensor | None  # int64 [tokens]: place in the flattened even shape

    @classmethod
    def of(cls, counts: Sequence[int], device: torch.device) -> Layout:
        sizes = np.asarray(counts, dtype=np.int64)
        present = None if sizes.all() else to_device(np.flatnonzero(sizes), device)
        sizes = sizes[sizes > 0]
        if len(set(sizes.tolist())) <= 1:
            return cls(tuple(counts), present, None, None)
        columns = np.arange(sizes.max())
        is_real = columns < sizes[:, None]
        starts = (sizes.cumsum() - sizes)[:, None]
        return cls(
            counts=tuple(counts),
            present=present,
            to_even=to_device(np.where(is_real, starts + columns, sizes.sum()), device),
            from_even=to_device(np.flatnonzero(is_real), device),
        )

    def multiply(self, x: Tensor, w: Tensor, scale: Tensor | None = None) -> Tensor:
        """x [tokens, m], w [slots, m, n], scale [slots, 1, 1] -> [tokens, n]: each token times its
        slot's matrix and number."""
        product = torch.bmm(self.split(x), self.pick(w))
        return self.join(product if scale is None else product.mul_(self.pick(scale)))

    def add_product(self, y: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """y [tokens, n] + `multiply`; y may be overwritten."""
        if self.from_even is not None:
            return y + self.multiply(x, w)
        self.split(y).baddbmm_(self.split(x), self.pick(w))
        return y

    def scale_by(self, x: Tensor, factors: Tensor) -> Tensor:
        """x [tokens, n] times its slot's factors [slots, n or 1]."""
        return self.join(multiply_into(self.split(x), self.pick(factors)[:, None]))

    def sum_tokens(self, x: Tensor) -> Tensor:
        """float32 [slots, n]: the sums over each slot's tokens of x [tokens, n]. Every slot has
        tokens."""
        return self.split(x).sum(1, dtype=torch.float32)

    def add_gradients(self, total: Tensor, left: Tensor, right: Tensor) -> None:
        """Adds left^T right of each slot's tokens, of [tokens, m] and [tokens, n], to total [slots,
        m, n], which may be more precise. Every slot has tokens."""
        total += torch.bmm(self.split(left).mT.to(total.dtype), self.split(right).to(total.dtype))

    def pick(self, rows: Tensor) -> Tensor:
        """rows [slots, ...] -> [present, ...]: those of the slots that have tokens."""
        return rows if self.present is None else rows[self.present]

    def split(self, x: Tensor) -> Tensor:
        """x [tokens, features] -> [present, most, features]. A padded place is zero, and nothing
        leaks from it."""
        if self.to_even is None:
            slots = len(self.counts) if self.present is None else len(self.present)
            return x.unflatten(0, (slots, -1))
        return F.pad(x, (0, 0, 0, 1))[self.to_even]

    def join(self, even: Tensor) -> Tensor:
        """The way back: [present, most, features] -> [tokens, features]."""
        flat = even.flatten(0, 1)
        return flat if self.from_even is None else flat[self.from_even]


def multiply_into(x: Tensor, factors: Tensor) -> Tensor:
    """x times factors, both [tokens, ...], in x's dtype, of which factors may be more precise:
    nothing as large as x is written in theirs."""
    return torch.mul(x, factors, out=torch.empty_like(x))
