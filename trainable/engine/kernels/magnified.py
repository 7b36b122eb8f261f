"""What `trainable.engine.layers.dora` computes of whole results, as one kernel each on a GPU.

Taken step by step, factors in 32 bits make each product a tensor in 32 bits.
Imported only where there is a GPU: Triton comes with torch's builds for it.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from trainable.engine.kernels import BLOCK_TOKENS
from trainable.engine.kernels.tiles import (
    TILE,
    WIDE,
    find_tile,
    fit,
    multiply_tile,
    precision_of,
)


def add_magnified_blocks(
    plain: Tensor, kept: Tensor, low: Tensor, b: Tensor, factors: Tensor, slots: Tensor
) -> Tensor:
    """As `add_magnified`, with each block's slot in slots [blocks]."""
    plain, kept, low = plain.contiguous(), kept.contiguous(), low.contiguous()
    (tokens, rank), n, out = low.shape, plain.shape[1], torch.empty_like(plain)
    inner, outer = fit(rank, TILE), fit(n, WIDE)
    _add_magnified[triton.cdiv(tokens, TILE), triton.cdiv(n, outer)](
        plain, kept, low, b, factors.contiguous(), slots, out, rank, n, *b.stride(),
        PRECISION=precision_of(low), BLOCK=BLOCK_TOKENS, ROWS=TILE, INNER=inner, OUTER=outer,
        num_warps=4,
    )  # fmt: skip
    return out


def magnify_gradient_blocks(
    grad: Tensor, kept: Tensor, shares: Tensor, slots: Tensor
) -> tuple[Tensor, Tensor]:
    """As `magnify_gradient`, with sums float32 [blocks, out] of each block's tokens alone."""
    grad, kept, (tokens, n) = grad.contiguous(), kept.contiguous(), grad.shape
    scaled, blocks = torch.empty_like(grad), tokens // BLOCK_TOKENS
    sums = grad.new_empty(blocks, n, dtype=torch.float32)
    columns = fit(n, TILE)
    _magnify_gradient[blocks, triton.cdiv(n, columns)](
        grad, kept, shares.contiguous(), slots, scaled, sums, n,
        BLOCK=BLOCK_TOKENS, COLUMNS=columns, num_warps=4,
    )  # fmt: skip
    return scaled, sums


@triton.jit  # type: ignore[untyped-decorator]
def _add_magnified(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    plain, kept, low, b, factors, slots, out, rank, n, b_slot, b_row, b_column,
    PRECISION: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, INNER: tl.constexpr,
    OUTER: tl.constexpr,
):  # fmt: skip
    """Some tokens of a block, some columns."""
    slot, token, column = find_tile(slots, BLOCK, ROWS, OUTER)
    change = multiply_tile(
        low, b, slot, token, column, rank, n, b_slot, b_row, b_column, PRECISION, ROWS, INNER, OUTER
    )
    is_there = column < n
    factor = tl.load(factors + slot * n + column, mask=is_there, other=1.0)
    place = token * n + column
    base = tl.load(plain + place, mask=is_there, other=0.0).to(tl.float32)
    base += (factor - 1) * tl.load(kept + place, mask=is_there, other=0.0).to(tl.float32)
    tl.store(out + place, (base + factor * change).to(out.dtype.element_ty), mask=is_there)


@triton.jit  # type: ignore[untyped-decorator]
def _magnify_gradient(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    grad, kept, shares, slots, scaled, sums, n,
    BLOCK: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """A block, some columns."""
    block = tl.program_id(0)
    slot = tl.load(slots + block).to(tl.int64)
    token = (block * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_there = column < n
    place = token * n + column[None]
    own = tl.load(grad + place, mask=is_there[None], other=0.0).to(tl.float32)
    share = tl.load(shares + slot * n + column, mask=is_there, other=0.0)
    result = (own * share[None]).to(scaled.dtype.element_ty)
    tl.store(scaled + place, result, mask=is_there[None])
    along = own * tl.load(kept + place, mask=is_there[None], other=0.0).to(tl.float32)
    tl.store(sums + block.to(tl.int64) * n + column, tl.sum(along, 0), mask=is_there)
