"""Rows to 8 bits with a scale each: the largest number, the scale and the cast in one kernel.

Imported only where there is a GPU: Triton comes with torch's builds for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 4096  # numbers of a row at a time


def quantise_on_gpu(
    parts: Sequence[Tensor], factors: Tensor | None, largest: float, smallest: float
) -> tuple[Tensor, Tensor]:
    """Up to three tensors [tokens, width] side by side, times factors [all widths]: e4m3 [tokens,
    all widths], and the scale of each token, float32 [tokens, 1], at least `smallest`."""
    parts = [part.contiguous() for part in parts]
    widths = [part.shape[1] for part in parts]
    tokens, first, missing = len(parts[0]), parts[0], 3 - len(parts)
    values = first.new_empty(tokens, sum(widths), dtype=torch.float8_e4m3fn)
    scales = first.new_empty(tokens, 1, dtype=torch.float32)
    _quantise[(tokens,)](
        *parts, *[first] * missing, first if factors is None else factors, values, scales,
        *widths, *[0] * missing, largest, smallest,
        HAS_FACTORS=factors is not None, BLOCK=min(BLOCK, triton.next_power_of_2(max(widths))),
        num_warps=8,
    )  # fmt: skip
    return values, scales


@triton.jit  # type: ignore[untyped-decorator]
def _quantise(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    x, second, third, factors, values, scales, width, width_2, width_3, largest, smallest,
    HAS_FACTORS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    behind = width + width_2
    x, second, third = x + token * width, second + token * width_2, third + token * width_3
    most = find_most(x, factors, width, HAS_FACTORS, BLOCK)
    most = tl.maximum(most, find_most(second, factors + width, width_2, HAS_FACTORS, BLOCK))
    most = tl.maximum(most, find_most(third, factors + behind, width_3, HAS_FACTORS, BLOCK))
    most = tl.maximum(most, largest * smallest)
    tl.store(scales + token, tl.div_rn(most, largest))
    times = tl.div_rn(largest, most)
    row = values + token * (behind + width_3)
    cast(x, factors, row, width, times, HAS_FACTORS, BLOCK)
    cast(second, factors + width, row + width, width_2, times, HAS_FACTORS, BLOCK)
    cast(third, factors + behind, row + behind, width_3, times, HAS_FACTORS, BLOCK)


@triton.jit  # type: ignore[untyped-decorator]
def find_most(  # type: ignore[no-untyped-def]
    row, factors, width, HAS_FACTORS: tl.constexpr, BLOCK: tl.constexpr
):
    most = tl.zeros([BLOCK], tl.float32)
    for start in range(0, width, BLOCK):
        numbers = read(row, factors, start + tl.arange(0, BLOCK), width, HAS_FACTORS)
        most = tl.maximum(most, tl.abs(numbers))
    return tl.max(most, 0)


@triton.jit  # type: ignore[untyped-decorator]
def cast(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    row, factors, out, width, times, HAS_FACTORS: tl.constexpr, BLOCK: tl.constexpr
):
    for start in range(0, width, BLOCK):
        feature = start + tl.arange(0, BLOCK)
        numbers = read(row, factors, feature, width, HAS_FACTORS) * times
        tl.store(out + feature, numbers.to(tl.float8e4nv), mask=feature < width)


@triton.jit  # type: ignore[untyped-decorator]
def read(  # type: ignore[no-untyped-def]
    row, factors, feature, width, HAS_FACTORS: tl.constexpr
):
    numbers = tl.load(row + feature, mask=feature < width, other=0.0).to(tl.float32)
    if HAS_FACTORS:
        numbers *= tl.load(factors + feature, mask=feature < width, other=0.0)
    return numbers
