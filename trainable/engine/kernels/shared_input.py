"""`trainable.engine.layers.shared_input` on a GPU: up to three layers that read one input, by one
kernel, which masks that input on its way.

Imported only where there is a GPU: Triton comes with torch's builds for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from trainable.engine.kernels import BLOCK_TOKENS
from trainable.engine.kernels.dropout_mask import is_kept_here
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

Mask = tuple[Tensor, Tensor, Tensor]  # token keys, feature keys [layers, in], shares that are kept


def multiply_kept_blocks(
    x: Tensor, mask: Mask | None, ws: Sequence[Tensor], slots: Tensor, scales: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """As `multiply_kept`, with each block's slot in slots [blocks]; no scales: none. A program
    masks whole rows, so that each number's mask is drawn once."""
    x, (tokens, m), n = x.contiguous(), x.shape, ws[0].shape[2]
    is_dropped = mask is not None
    kept = x.new_empty(len(ws) if is_dropped else 0, tokens, m)
    out = x.new_empty(len(ws), tokens, n)
    inner, outer = fit(m, TILE * 2 // x.itemsize), fit(n, WIDE if n > TILE else TILE)
    rows, distances = TILE if is_dropped or n > TILE else WIDE, find_distances(ws)
    _multiply_kept[triton.cdiv(tokens, rows), triton.cdiv(n, outer), len(ws)](
        x, *(mask or (x, x, x)), ws[0], kept, out, slots, scales[0] if scales else None,
        tokens, m, n, *ws[0].stride(), scales[0].stride(0) if scales else 0,
        *distances, *find_distances(scales),
        STEP=find_step(distances), IS_DROPPED=is_dropped, IS_SCALED=bool(scales),
        PRECISION=precision_of(x), BLOCK=BLOCK_TOKENS, ROWS=rows, INNER=inner, OUTER=outer,
        num_warps=4, num_stages=3 if m > inner else 1,
    )  # fmt: skip
    return (kept if is_dropped else x[None]), out


def add_kept_blocks(
    y: Tensor, xs: Tensor, ws: Sequence[Tensor], mask: Mask | None, slots: Tensor
) -> Tensor:
    """As `add_kept_products`, in y's place: y [tokens, out], xs [layers, tokens, rank]."""
    (layers, tokens, m), n, distances = xs.shape, ws[0].shape[2], find_distances(ws)
    inner, outer = fit(m, TILE * 2 // xs.itemsize), fit(n, WIDE if n > TILE else TILE)
    _add_kept[triton.cdiv(tokens, TILE), triton.cdiv(n, outer)](
        xs, ws[0], y, *(mask or (y, y, y)), slots, tokens, m, n, *ws[0].stride(), y.stride(0),
        *distances, layers, STEP=find_step(distances), IS_DROPPED=mask is not None,
        PRECISION=precision_of(xs), BLOCK=BLOCK_TOKENS, ROWS=TILE, INNER=inner, OUTER=outer,
        num_warps=4, num_stages=3 if m > inner else 1,
    )  # fmt: skip
    return y


DISTANCES = ["second_w", "third_w", "second_scale", "third_scale"]  # compiled for any


@triton.jit(do_not_specialize=DISTANCES)  # type: ignore[untyped-decorator]
def _multiply_kept(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    x, token_keys, feature_keys, keep, w, kept, out, slots, scale, tokens, m, n, w_slot, w_row,
    w_column, scale_slot, second_w, third_w, second_scale, third_scale,
    STEP: tl.constexpr, IS_DROPPED: tl.constexpr, IS_SCALED: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr, ROWS: tl.constexpr, INNER: tl.constexpr, OUTER: tl.constexpr,
):  # fmt: skip
    """Some tokens of a block, some columns, a layer; whoever has other columns of these tokens
    keeps the same."""
    slot, token, column = find_tile(slots, BLOCK, ROWS, OUTER)
    layer = tl.program_id(2)
    own_row = layer.to(tl.int64) * tokens + token
    w += slot * w_slot + pick(layer, second_w, third_w, STEP)
    if IS_DROPPED:
        token_key, kept_share = tl.load(token_keys + token), tl.load(keep + token)
    inner = tl.arange(0, INNER)
    total = tl.zeros([ROWS, OUTER], tl.float32)
    for start in range(0, m, INNER):
        at = start + inner
        is_there = at[None] < m
        left = tl.load(x + token * m + at[None], mask=is_there, other=0.0)
        if IS_DROPPED:
            feature_key = tl.load(feature_keys + layer * m + at, mask=at < m, other=0)[None]
            is_kept = is_kept_here(token_key, feature_key, kept_share)
            left = tl.where(is_kept, left.to(tl.float32) / kept_share, 0.0).to(x.dtype.element_ty)
            tl.store(kept + own_row * m + at[None], left, mask=is_there)
        place = w + at[:, None] * w_row + column * w_column
        right = tl.load(place, mask=(at[:, None] < m) & (column < n), other=0.0)
        total = tl.dot(left, right, total, input_precision=PRECISION)
    if IS_SCALED:
        total *= tl.load(scale + slot * scale_slot + pick(layer, second_scale, third_scale, 1))
    tl.store(out + own_row * n + column, total.to(out.dtype.element_ty), mask=column < n)


@triton.jit(do_not_specialize=["second_w", "third_w", "layers"])  # type: ignore[untyped-decorator]
def _add_kept(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    x, w, y, token_keys, feature_keys, keep, slots, tokens, m, n, w_slot, w_row, w_column, y_row,
    second_w, third_w, layers,
    STEP: tl.constexpr, IS_DROPPED: tl.constexpr, PRECISION: tl.constexpr, BLOCK: tl.constexpr,
    ROWS: tl.constexpr, INNER: tl.constexpr, OUTER: tl.constexpr,
):  # fmt: skip
    """Some tokens of a block, some columns: all layers' parts, one after another."""
    slot, token, column = find_tile(slots, BLOCK, ROWS, OUTER)
    place = y + token * y_row + column
    total = tl.load(place, mask=column < n, other=0.0).to(tl.float32)
    for layer in range(layers):
        part = multiply_tile(
            x + layer * tokens.to(tl.int64) * m, w + pick(layer, second_w, third_w, STEP),
            slot, token, column, m, n, w_slot, w_row, w_column, PRECISION, ROWS, INNER, OUTER,
        )  # fmt: skip
        if IS_DROPPED:
            kept_share = tl.load(keep + token)
            feature_key = tl.load(feature_keys + layer * n + column, mask=column < n, other=0)
            is_kept = is_kept_here(tl.load(token_keys + token), feature_key, kept_share)
            part = tl.where(is_kept, part / kept_share, 0.0)
        total += part
    tl.store(place, total.to(y.dtype.element_ty), mask=column < n)
