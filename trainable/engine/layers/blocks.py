"""A layout whose tokens come in blocks of one slot each: any number of blocks a slot.

What belongs to whom stands in tensors, so that a recorded pass serves all passes of as many tokens,
and kernels look it up, so that no slot is padded to the largest (after Punica and S-LoRA, arXiv
2310.18547 and 2311.03285, which serve adapters so; here they are trained).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from trainable.engine.device.transfer import to_device
from trainable.engine.kernels import BLOCK_TOKENS
from trainable.engine.layers.layout import multiply_into


@dataclass(frozen=True)
class Blocks:
    """As a `Layout`. Each count is a multiple of BLOCK_TOKENS."""

    counts: tuple[int, ...]  # tokens of each slot of the range
    device: torch.device

    @classmethod
    def of(cls, counts: Sequence[int], device: torch.device) -> Blocks:
        assert not any(count % BLOCK_TOKENS for count in counts), "a block belongs to one slot"
        return cls(tuple(counts), device)

    @cached_property
    def slots(self) -> Tensor:
        """int32 [blocks]: each one's."""
        blocks = np.asarray(self.counts) // BLOCK_TOKENS
        return to_device(np.repeat(np.arange(len(blocks), dtype=np.int32), blocks), self.device)

    @cached_property
    def borders(self) -> Tensor:
        """int32 [slots + 1]: where each slot's tokens begin."""
        return to_device(np.cumsum([0, *self.counts], dtype=np.int32), self.device)

    def place(self, low: int, slots: int) -> Blocks:
        """The same, of a bank of so many slots, from that row on."""
        behind = slots - low - len(self.counts)
        return Blocks.of((0,) * low + self.counts + (0,) * behind, self.device)

    @cached_property
    def n_blocks(self) -> Tensor:
        """int64 [slots]: of each slot."""
        return to_device(np.asarray(self.counts, dtype=np.int64) // BLOCK_TOKENS, self.device)

    def multiply(self, x: Tensor, w: Tensor, scale: Tensor | None = None) -> Tensor:
        """x [tokens, in], w [slots, in, out], scale [slots, 1, 1] -> [tokens, out]"""
        if has_kernels(x):
            from trainable.engine.kernels.block_products import multiply_blocks

            return multiply_blocks(x, w, self.slots, scale)
        product = torch.bmm(split(x), w[self.slots])
        return (product if scale is None else product.mul_(scale[self.slots])).flatten(0, 1)

    def add_product(self, y: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """y [tokens, out] + `multiply(x, w)`; y may be overwritten."""
        if has_kernels(x):
            from trainable.engine.kernels.block_products import multiply_blocks

            return multiply_blocks(x, w, self.slots, None, add_to=y)
        split(y).baddbmm_(split(x), w[self.slots])
        return y

    def scale_by(self, x: Tensor, factors: Tensor) -> Tensor:
        """x [tokens, n] times its slot's factors [slots, n or 1]."""
        return multiply_into(split(x), factors[self.slots][:, None]).flatten(0, 1)

    def sum_tokens(self, x: Tensor) -> Tensor:
        """float32 [slots, n]: the sums over each slot's tokens of x [tokens, n]."""
        return self.sum_blocks(split(x).sum(1, dtype=torch.float32))

    def sum_blocks(self, x: Tensor) -> Tensor:
        """[slots, ...]: the sums over each slot's blocks of x [blocks, ...]."""
        return torch.segment_reduce(x, "sum", lengths=self.n_blocks, unsafe=True)

    def add_gradients(self, total: Tensor, left: Tensor, right: Tensor) -> None:
        """total [slots, a, b] += left^T right of each slot's tokens: [tokens, a], [tokens, b]"""
        if has_kernels(left):
            from trainable.engine.kernels.block_products import add_gradients

            return add_gradients([total], left[None], right[None], self.borders)
        of_blocks = multiply_in_32_bits(split(left).mT, split(right))
        total += self.sum_blocks(of_blocks)


def has_kernels(x: Tensor) -> bool:
    """Whether our kernels multiply x [tokens, features]. In fp16 it is cuBLAS's products: on a GPU
    without bf16 Triton's use no tensor cores."""
    return x.is_cuda and x.dtype != torch.float16


def split(x: Tensor) -> Tensor:
    """[tokens, features] -> [blocks, tokens, features]"""
    return x.unflatten(0, (-1, BLOCK_TOKENS))


def multiply_in_32_bits(left: Tensor, right: Tensor) -> Tensor:
    """[blocks, a, tokens], [blocks, tokens, b] -> float32 [blocks, a, b]"""
    if left.is_cuda and left.dtype != torch.float32:
        return torch.bmm(left, right, out_dtype=torch.float32)
    return torch.bmm(left.float(), right.float())
