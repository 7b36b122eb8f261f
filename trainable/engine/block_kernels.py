"""The products of `trainable.engine.blocks` on a GPU: one kernel each, whatever the slots bring.
Dropout's masks are drawn where the numbers are anyway, and are the very ones of a `Mask`.

Imported only where there is a GPU: Triton comes with torch's builds for it.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from trainable.engine.blocks import BLOCK
from trainable.engine.dropout import Mask

TILE = 64  # side of most tiles: the best of those tried on an H200, at rank 64
WIDE = 128
SMALLEST = 16  # side of a tensor core's tile


def multiply_blocks(
    x: Tensor,
    w: Tensor,
    slots: Tensor,
    scale: Tensor | None = None,
    mask: Mask | None = None,
    add_to: Tensor | None = None,
) -> Tensor:
    """As `Blocks.multiply`, x and w of one dtype; with `add_to`, as `Blocks.add_product` in its
    place. The mask is of x there, of the product here."""
    (tokens, m), n = x.shape, w.shape[2]
    out = x.new_empty(tokens, n) if add_to is None else add_to.contiguous()
    inner, outer = fit(m, TILE * 2 // x.itemsize), fit(n, WIDE if n > TILE else TILE)
    rows = TILE if n > TILE else WIDE
    _multiply[triton.cdiv(tokens, rows), triton.cdiv(n, outer)](
        x.contiguous(), w, out, slots, scale, *spell(mask), m, n, *w.stride(),
        IS_SCALED=scale is not None, IS_ADDED=add_to is not None, IS_MASKED=mask is not None,
        PRECISION=precision_of(x), BLOCK=BLOCK, ROWS=rows, INNER=inner, OUTER=outer,
        num_warps=4, num_stages=3 if m > inner else 1,
    )  # fmt: skip
    return out


def add_gradients(
    total: Tensor, left: Tensor, right: Tensor, borders: Tensor, mask: Mask | None
) -> None:
    """As `Blocks.add_gradients`: the sums are made, and added, in float32."""
    slots, m, n = total.shape
    rows, columns = fit(m, TILE), fit(n, TILE)
    _add_gradients[triton.cdiv(m, rows), triton.cdiv(n, columns), slots](
        total, left.contiguous(), right.contiguous(), borders, *spell(mask), m, n,
        *total.stride(), IS_MASKED=mask is not None, PRECISION=precision_of(left),
        TOKENS=WIDE * 2 // left.itemsize, ROWS=rows, COLUMNS=columns, num_warps=4, num_stages=3,
    )  # fmt: skip


def spell(mask: Mask | None) -> tuple[Any, Any, Any]:
    return (None,) * 3 if mask is None else (mask.token_keys, mask.keep, mask.feature_keys)


def fit(size: int, most: int) -> int:
    return min(most, max(SMALLEST, triton.next_power_of_2(size)))


def precision_of(x: Tensor) -> str:
    return "ieee" if x.dtype == torch.float32 else "tf32"


@triton.jit
def _mask(value, token_key, keep, feature_key):  # type: ignore[no-untyped-def]
    """float32: the value over what is kept, or 0. The hash is trainable.engine.counter.mix."""
    bits = (token_key + feature_key).to(tl.uint32, bitcast=True)
    bits = (bits ^ (bits >> 16)) * 0x7FEB352D
    bits = (bits ^ (bits >> 15)) * 0x846CA68B
    draws = ((bits ^ (bits >> 16)) >> 8).to(tl.float32) * (1.0 / 16777216)
    return tl.where(draws < keep, value.to(tl.float32) / keep, 0.0)


@triton.jit  # type: ignore[untyped-decorator]
def _multiply(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    x,
    w,
    out,
    slots,
    scale,
    token_keys,
    keep,
    feature_keys,
    m,
    n,
    w_slot,
    w_row,
    w_column,
    IS_SCALED: tl.constexpr,
    IS_ADDED: tl.constexpr,
    IS_MASKED: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
    INNER: tl.constexpr,
    OUTER: tl.constexpr,
):
    """Some tokens of a block, some columns."""
    first = tl.program_id(0) * ROWS
    slot = tl.load(slots + first // BLOCK).to(tl.int64)
    token = (first + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    column = tl.program_id(1) * OUTER + tl.arange(0, OUTER)[None]
    if IS_MASKED:
        token_key, kept_share = tl.load(token_keys + token), tl.load(keep + token)
    total = tl.zeros([ROWS, OUTER], tl.float32)
    for start in range(0, m, INNER):
        inner = start + tl.arange(0, INNER)
        left = tl.load(x + token * m + inner[None], mask=inner[None] < m, other=0.0)
        if IS_MASKED and not IS_ADDED:
            feature_key = tl.load(feature_keys + inner, mask=inner < m, other=0)[None]
            left = _mask(left, token_key, kept_share, feature_key).to(x.dtype.element_ty)
        place = w + slot * w_slot + inner[:, None] * w_row + column * w_column
        right = tl.load(place, mask=(inner[:, None] < m) & (column < n), other=0.0)
        total = tl.dot(left, right, total, input_precision=PRECISION)
    if IS_SCALED:
        total *= tl.load(scale + slot)
    if IS_MASKED and IS_ADDED:
        feature_key = tl.load(feature_keys + column, mask=column < n, other=0)
        total = _mask(total, token_key, kept_share, feature_key)
    place = out + token * n + column
    if IS_ADDED:
        total += tl.load(place, mask=column < n, other=0.0).to(tl.float32)
    tl.store(place, total.to(out.dtype.element_ty), mask=column < n)


@triton.jit  # type: ignore[untyped-decorator]
def _add_gradients(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    total,
    left,
    right,
    borders,
    token_keys,
    keep,
    feature_keys,
    m,
    n,
    total_slot,
    total_row,
    total_column,
    IS_MASKED: tl.constexpr,
    PRECISION: tl.constexpr,
    TOKENS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """A tile of a slot's, over all of its tokens."""
    slot = tl.program_id(2)
    begin, end = tl.load(borders + slot), tl.load(borders + slot + 1)
    if begin == end:
        return
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    if IS_MASKED:
        feature_key = tl.load(feature_keys + row, mask=row < m, other=0)[None]
    own = tl.zeros([ROWS, COLUMNS], tl.float32)
    for start in range(begin, end, TOKENS):
        token = (start + tl.arange(0, TOKENS)).to(tl.int64)[:, None]
        one = tl.load(left + token * m + row[None], mask=row[None] < m, other=0.0)
        if IS_MASKED:
            token_key, kept_share = tl.load(token_keys + token), tl.load(keep + token)
            one = _mask(one, token_key, kept_share, feature_key).to(left.dtype.element_ty)
        other = tl.load(right + token * n + column[None], mask=column[None] < n, other=0.0)
        own = tl.dot(tl.trans(one), other, own, input_precision=PRECISION)
    place = slot.to(tl.int64) * total_slot + row[:, None] * total_row + column[None] * total_column
    is_there = (row[:, None] < m) & (column[None] < n)
    before = tl.load(total + place, mask=is_there, other=0.0)
    tl.store(total + place, before + own, mask=is_there)
