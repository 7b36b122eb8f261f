"""The products of `trainable.engine.layers.blocks` on a GPU: one kernel, whatever each slot brings.

Imported only where there is a GPU: Triton comes with torch's builds for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from trainable.engine.kernels import BLOCK_TOKENS
from trainable.engine.kernels.tiles import (
    TILE,
    WIDE,
    find_distances,
    find_step,
    find_tile,
    fit,
    multiply_tile,
    pick,
    precision_of,
)

CHUNK_TOKENS = 512  # of a slot, whose gradients are summed by one program
NUMBERS = 1024  # of a gradient, by one program


def multiply_blocks(
    x: Tensor,
    w: Tensor,
    slots: Tensor,
    scale: Tensor | None,
    add_to: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """As `Blocks.multiply`, x [tokens, m] and w [slots, m, n] of one dtype, into `out` [tokens, n];
    or added to `add_to`, in its place."""
    x, (tokens, m), n = x.contiguous(), x.shape, w.shape[2]
    if out is None:
        out = x.new_empty(tokens, n) if add_to is None else add_to
    inner, outer = fit(m, TILE * 2 // x.itemsize), fit(n, WIDE if n > TILE else TILE)
    rows = TILE if n > TILE else WIDE
    _multiply[triton.cdiv(tokens, rows), triton.cdiv(n, outer)](
        x, w, out, slots, scale, m, n, *w.stride(), out.stride(0),
        0 if scale is None else scale.stride(0),
        IS_SCALED=scale is not None, IS_ADDED=add_to is not None, PRECISION=precision_of(x),
        BLOCK=BLOCK_TOKENS, ROWS=rows, INNER=inner, OUTER=outer, num_warps=4,
        num_stages=3 if m > inner else 1,
    )  # fmt: skip
    return out


def add_gradients(totals: Sequence[Tensor], left: Tensor, right: Tensor, borders: Tensor) -> None:
    """As `Blocks.add_gradients`, of up to three layers [slots, m, n] at once, left [layers or 1,
    tokens, m] and right [layers, tokens, n], in float32: chunks of a slot's tokens are summed side
    by side, and their sums one after another. Chunks are counted from the slot's own first token,
    so that its gradient is the same whatever other slots there are."""
    left, right, (slots, m, n) = left.contiguous(), right.contiguous(), totals[0].shape
    (layers, tokens, _), rows, columns = right.shape, fit(m, TILE), fit(n, TILE)
    places = tokens // CHUNK_TOKENS + slots  # enough, wherever the slots' borders lie
    sums = totals[0].new_empty(layers, places, m, n)
    distances = find_distances(totals)
    layout = {"CHUNK": CHUNK_TOKENS, "SLOTS": triton.next_power_of_2(slots)}
    _sum_chunks[triton.cdiv(m, rows), triton.cdiv(n, columns) * layers, places](
        sums, left, right, borders, m, n, slots, left.stride(0) if len(left) > 1 else 0,
        right.stride(0), PRECISION=precision_of(left), TOKENS=WIDE * 2 // left.itemsize,
        ROWS=rows, COLUMNS=columns, num_warps=4, num_stages=3, **layout,
    )  # fmt: skip
    _add_chunks[triton.cdiv(m * n, NUMBERS), slots, layers](
        totals[0], sums, borders, m, n, places, *totals[0].stride(), *distances,
        STEP=find_step(distances), CHUNK=CHUNK_TOKENS, NUMBERS=NUMBERS,
    )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _multiply(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    x, w, out, slots, scale, m, n, w_slot, w_row, w_column, out_row, scale_slot,
    IS_SCALED: tl.constexpr, IS_ADDED: tl.constexpr, PRECISION: tl.constexpr, BLOCK: tl.constexpr,
    ROWS: tl.constexpr, INNER: tl.constexpr, OUTER: tl.constexpr,
):  # fmt: skip
    """Some tokens of a block, some columns."""
    slot, token, column = find_tile(slots, BLOCK, ROWS, OUTER)
    total = multiply_tile(
        x, w, slot, token, column, m, n, w_slot, w_row, w_column, PRECISION, ROWS, INNER, OUTER
    )
    if IS_SCALED:
        total *= tl.load(scale + slot * scale_slot)
    place = out + token * out_row + column
    if IS_ADDED:
        total += tl.load(place, mask=column < n, other=0.0).to(tl.float32)
    tl.store(place, total.to(out.dtype.element_ty), mask=column < n)


@triton.jit  # type: ignore[untyped-decorator]
def _sum_chunks(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    sums, left, right, borders, m, n, slots, left_layer, right_layer,
    PRECISION: tl.constexpr, TOKENS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    CHUNK: tl.constexpr, SLOTS: tl.constexpr,
):  # fmt: skip
    """A tile of one chunk's sum of a layer. The chunks of slot s lie from place borders[s] // CHUNK
    + s on: no two slots' meet."""
    place, tiles = tl.program_id(2), (n + COLUMNS - 1) // COLUMNS
    layer, tile = (tl.program_id(1) // tiles).to(tl.int64), tl.program_id(1) % tiles
    left += layer * left_layer
    right += layer * right_layer
    slot = tl.arange(0, SLOTS)
    begins = tl.load(borders + slot, mask=slot < slots, other=0)
    ends = tl.load(borders + slot + 1, mask=slot < slots, other=0)
    chunk = place - (begins // CHUNK + slot)
    is_own = (chunk >= 0) & (begins + chunk * CHUNK < ends)
    begin = tl.sum(tl.where(is_own, begins + chunk * CHUNK, 0), axis=0)
    end = tl.sum(tl.where(is_own, tl.minimum(begins + (chunk + 1) * CHUNK, ends), 0), axis=0)
    if begin == end:
        return
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tile * COLUMNS + tl.arange(0, COLUMNS)
    own = tl.zeros([ROWS, COLUMNS], tl.float32)
    for start in range(begin, end, TOKENS):
        token = (start + tl.arange(0, TOKENS)).to(tl.int64)[:, None]
        is_left = (token < end) & (row[None] < m)
        one = tl.load(left + token * m + row[None], mask=is_left, other=0.0)
        is_right = (token < end) & (column[None] < n)
        other = tl.load(right + token * n + column[None], mask=is_right, other=0.0)
        own = tl.dot(tl.trans(one), other, own, input_precision=PRECISION)
    place += layer * tl.num_programs(2)
    at = sums + place * m * n + row[:, None] * n + column[None]
    tl.store(at, own, mask=(row[:, None] < m) & (column[None] < n))


@triton.jit(do_not_specialize=["places", "second_total", "third_total"])  # type: ignore[untyped-decorator]
def _add_chunks(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    total, sums, borders, m, n, places, total_slot, total_row, total_column, second_total,
    third_total,
    STEP: tl.constexpr, CHUNK: tl.constexpr, NUMBERS: tl.constexpr,
):  # fmt: skip
    """Some numbers of a slot's gradient: its chunks' sums, the first one first."""
    slot, layer = tl.program_id(1), tl.program_id(2)
    begin, end = tl.load(borders + slot), tl.load(borders + slot + 1)
    if begin == end:
        return
    number = tl.program_id(0) * NUMBERS + tl.arange(0, NUMBERS)
    is_there = number < m * n
    first = layer.to(tl.int64) * places + begin // CHUNK + slot
    own = tl.zeros([NUMBERS], tl.float32)
    for chunk in range(0, (end - begin + CHUNK - 1) // CHUNK):
        at = sums + (first + chunk) * m * n + number
        own += tl.load(at, mask=is_there, other=0.0)
    place = total + slot.to(tl.int64) * total_slot + pick(layer, second_total, third_total, STEP)
    place += (number // n) * total_row + (number % n) * total_column
    before = tl.load(place, mask=is_there, other=0.0)
    tl.store(place, before + own, mask=is_there)
