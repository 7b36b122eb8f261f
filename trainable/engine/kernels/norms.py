"""Norms, alone and behind the sum that they are of, as one kernel, and back.

Imported only where there is a GPU: Triton comes with torch's builds for it.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

WIDE = 4096  # features of a row from which on more threads share it


class Norm(torch.autograd.Function):
    """x [..., width] over its root mean square, times a frozen weight [width]. A weight of x's own
    type meets what has been rounded to that type (Llama), one in 32 bits what has not (Gemma)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        ctx.epsilon = epsilon
        x, out = add_and_norm(x, None, weight, epsilon)
        ctx.save_for_backward(x, weight)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        x, weight = ctx.saved_tensors
        return norm_back(x, weight, grads[0], None, ctx.epsilon), None, None


class AddNorm(torch.autograd.Function):
    """x + more [..., width], and that normed: both are read on. Without `more` it is x itself."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, more: Tensor | None, weight: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor]:
        ctx.epsilon, ctx.has_more = epsilon, more is not None
        total, out = add_and_norm(x, more, weight, epsilon)
        ctx.save_for_backward(total, weight)
        return total, out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        (total, weight), (of_total, of_normed) = ctx.saved_tensors, grads
        grad = norm_back(total, weight, of_normed, of_total, ctx.epsilon)
        return grad, grad if ctx.has_more else None, None, None


def add_and_norm(
    x: Tensor, more: Tensor | None, weight: Tensor, epsilon: float
) -> tuple[Tensor, Tensor]:
    """x + more [..., width], and that normed by the weight [width]."""
    x, width = x.contiguous(), x.shape[-1]
    total = x if more is None else torch.empty_like(x)
    out, block = torch.empty_like(x), triton.next_power_of_2(width)
    _norm[(x.numel() // width,)](
        x, x if more is None else more.contiguous(), weight, total, out, epsilon, width,
        HAS_MORE=more is not None, BLOCK=block, num_warps=count_warps(block),
    )  # fmt: skip
    return total, out


def norm_back(
    x: Tensor, weight: Tensor, grad: Tensor, beside: Tensor | None, epsilon: float
) -> Tensor:
    """The gradient of x [..., width] from that of its norm, and from what else reads x."""
    grad, out, width = grad.contiguous(), torch.empty_like(x), x.shape[-1]
    block = triton.next_power_of_2(width)
    _norm_back[(x.numel() // width,)](
        x, weight, grad, grad if beside is None else beside.contiguous(), out, epsilon, width,
        HAS_BESIDE=beside is not None, BLOCK=block, num_warps=count_warps(block),
    )  # fmt: skip
    return out


def count_warps(block: int) -> int:
    return 4 if block < WIDE else 16


@triton.jit  # type: ignore[untyped-decorator]
def _norm(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    x, more, weight, sums, out, epsilon, width, HAS_MORE: tl.constexpr, BLOCK: tl.constexpr
):
    feature = tl.arange(0, BLOCK)
    is_there = feature < width
    place = tl.program_id(0).to(tl.int64) * width + feature
    row = tl.load(x + place, mask=is_there, other=0.0)
    if HAS_MORE:
        added = tl.load(more + place, mask=is_there, other=0.0).to(tl.float32)
        row = (row.to(tl.float32) + added).to(row.dtype)
        tl.store(sums + place, row, mask=is_there)
    numbers = row.to(tl.float32)
    scale = tl.rsqrt(tl.sum(numbers * numbers, 0) / width + epsilon)
    normed = numbers * scale
    by = tl.load(weight + feature, mask=is_there, other=0.0)
    if by.dtype == row.dtype:  # rounded here too, as transformers does
        normed = normed.to(row.dtype)
    tl.store(out + place, (normed.to(tl.float32) * by.to(tl.float32)).to(row.dtype), mask=is_there)


@triton.jit  # type: ignore[untyped-decorator]
def _norm_back(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    x, weight, grad, beside, out, epsilon, width, HAS_BESIDE: tl.constexpr, BLOCK: tl.constexpr
):
    feature = tl.arange(0, BLOCK)
    is_there = feature < width
    place = tl.program_id(0).to(tl.int64) * width + feature
    numbers = tl.load(x + place, mask=is_there, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(numbers * numbers, 0) / width + epsilon)
    by = tl.load(weight + feature, mask=is_there, other=0.0).to(tl.float32)
    given = tl.load(grad + place, mask=is_there, other=0.0)
    grad_y = given.to(tl.float32) * by
    grad_along = tl.sum(grad_y * numbers, 0) / width * scale * scale
    own = scale * (grad_y - numbers * grad_along)
    if HAS_BESIDE:
        own += tl.load(beside + place, mask=is_there, other=0.0).to(tl.float32)
    tl.store(out + place, own.to(given.dtype), mask=is_there)
