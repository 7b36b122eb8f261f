"""What the kernels of blocks share: a program's tile, its product, and layers beside each other.

Imported only where there is a GPU: Triton comes with torch's builds for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

# Tiles: the best of those tried on an H200, at rank 64
TILE = 64
WIDE = 128
SMALLEST = 16  # side of a tensor core's


def find_distances(tensors: Sequence[Tensor]) -> tuple[int, int]:
    """From the first to the second and the third of them, each [slots, ...], in numbers: how a
    kernel finds them (`pick`)."""
    places = [each.data_ptr() // each.itemsize for each in tensors] or [0]
    second, third = (each - places[0] for each in (*places[1:], *places[:1] * 2)[:2])
    return second, third


def find_step(distances: tuple[int, int]) -> int:
    """What both are multiples of: where it is 16, a kernel reads many numbers at once."""
    return 1 if any(each % 16 for each in distances) else 16


def fit(size: int, most: int) -> int:
    return min(most, max(SMALLEST, triton.next_power_of_2(size)))


def precision_of(x: Tensor) -> str:  # [...]
    return "ieee" if x.dtype == torch.float32 else "tf32"


@triton.jit  # type: ignore[untyped-decorator]
def pick(layer, second, third, STEP: tl.constexpr):  # type: ignore[no-untyped-def]
    """That layer's distance from the first, a multiple of STEP."""
    return tl.multiple_of(tl.where(layer == 0, 0, tl.where(layer == 1, second, third)), STEP)


@triton.jit  # type: ignore[untyped-decorator]
def find_tile(  # type: ignore[no-untyped-def]
    slots, BLOCK: tl.constexpr, ROWS: tl.constexpr, OUTER: tl.constexpr
):
    """A program's slot, which its block is of, its tokens [ROWS, 1] and its columns [1, OUTER]."""
    first = tl.program_id(0) * ROWS
    slot = tl.load(slots + first // BLOCK).to(tl.int64)
    token = (first + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    column = tl.program_id(1) * OUTER + tl.arange(0, OUTER)[None]
    return slot, token, column


@triton.jit  # type: ignore[untyped-decorator]
def multiply_tile(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    x, w, slot, token, column, m, n, w_slot, w_row, w_column,
    PRECISION: tl.constexpr, ROWS: tl.constexpr, INNER: tl.constexpr, OUTER: tl.constexpr,
):  # fmt: skip
    """float32 [ROWS, OUTER]: tokens of one slot [ROWS, 1] of x [tokens, m] times columns [1, OUTER]
    of its matrix in w [slots, m, n]."""
    inner = tl.arange(0, INNER)
    total = tl.zeros([ROWS, OUTER], tl.float32)
    for start in range(0, m, INNER):
        at = start + inner
        left = tl.load(x + token * m + at[None], mask=at[None] < m, other=0.0)
        place = w + slot * w_slot + at[:, None] * w_row + column * w_column
        right = tl.load(place, mask=(at[:, None] < m) & (column < n), other=0.0)
        total = tl.dot(left, right, total, input_precision=PRECISION)
    return total
