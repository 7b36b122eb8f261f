"""Dropout on a GPU: `trainable.engine.layers.dropout` as one kernel each, with its very masks.

Compiled by torch for any shape it divides for every number to find its token (39 us a call where
the bytes moved need 11, on an H200), and the host passes torch's guards hundreds of times a pass.
Imported only where there is a GPU: Triton comes with torch's builds for it.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from trainable.engine.kernels import BLOCK_TOKENS
from trainable.engine.kernels.block_products import (
    TILE,
    WIDE,
    fit,
    multiply_tile,
    precision_of,
)

TOKENS, FEATURES = 16, 128  # a program's tile


def mask_on_gpu(x: Tensor, token_keys: Tensor, feature_keys: Tensor, keep: Tensor) -> Tensor:
    """As `apply_mask`."""
    tokens, width = x.shape
    x = x.contiguous()
    out = torch.empty_like(x)
    grid = triton.cdiv(tokens, TOKENS), triton.cdiv(width, FEATURES)
    _mask[grid](x, token_keys, feature_keys, keep, out, tokens, width, TOKENS, FEATURES)
    return out


def multiply_kept_blocks(
    x: Tensor, mask: tuple[Tensor, Tensor, Tensor], w: Tensor, slots: Tensor, scale: Tensor | None
) -> tuple[Tensor, Tensor]:
    """As `multiply_kept`, with each block's slot in slots [blocks]. A program masks whole rows, so
    that each number's mask is drawn once."""
    x, (tokens, m), n = x.contiguous(), x.shape, w.shape[2]
    kept, out = torch.empty_like(x), x.new_empty(tokens, n)
    inner, outer = fit(m, TILE * 2 // x.itemsize), fit(n, WIDE if n > TILE else TILE)
    _multiply_kept[triton.cdiv(tokens, TILE), triton.cdiv(n, outer)](
        x, *mask, w, kept, out, slots, scale, m, n, *w.stride(),
        0 if scale is None else scale.stride(0),
        IS_SCALED=scale is not None, PRECISION=precision_of(x),
        BLOCK=BLOCK_TOKENS, ROWS=TILE, INNER=inner, OUTER=outer, num_warps=4,
        num_stages=3 if m > inner else 1,
    )  # fmt: skip
    return kept, out


def add_kept_blocks(
    y: Tensor, x: Tensor, w: Tensor, mask: tuple[Tensor, Tensor, Tensor], slots: Tensor
) -> Tensor:
    """As `add_kept_product`, in y's place."""
    x, (tokens, m), n = x.contiguous(), x.shape, w.shape[2]
    inner, outer = fit(m, TILE * 2 // x.itemsize), fit(n, WIDE if n > TILE else TILE)
    _add_kept[triton.cdiv(tokens, TILE), triton.cdiv(n, outer)](
        x, w, y, *mask, slots, m, n, *w.stride(), y.stride(0), PRECISION=precision_of(x),
        BLOCK=BLOCK_TOKENS, ROWS=TILE, INNER=inner, OUTER=outer, num_warps=4,
        num_stages=3 if m > inner else 1,
    )  # fmt: skip
    return y


@triton.jit
def _is_kept(token_key, feature_key, kept_share):  # type: ignore[no-untyped-def]
    """Of each token and feature: the hash of trainable.model.counter.mix, below the share."""
    bits = (token_key + feature_key).to(tl.uint32, bitcast=True)
    bits = (bits ^ (bits >> 16)) * 0x7FEB352D
    bits = (bits ^ (bits >> 15)) * 0x846CA68B
    return ((bits ^ (bits >> 16)) >> 8).to(tl.float32) * (1.0 / 16777216) < kept_share


@triton.jit(do_not_specialize=["tokens"])  # type: ignore[untyped-decorator]
def _mask(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    x,
    token_keys,
    feature_keys,
    keep,
    out,
    tokens,
    width,
    TOKENS: tl.constexpr,
    FEATURES: tl.constexpr,
):
    token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    feature = tl.program_id(1) * FEATURES + tl.arange(0, FEATURES)
    is_token, is_feature = token < tokens, feature < width
    token_key = tl.load(token_keys + token, mask=is_token, other=0)[:, None]
    feature_key = tl.load(feature_keys + feature, mask=is_feature, other=0)[None]
    kept_share = tl.load(keep + token, mask=is_token, other=1.0)[:, None]
    is_kept = _is_kept(token_key, feature_key, kept_share)
    place = token.to(tl.int64)[:, None] * width + feature[None]
    is_there = is_token[:, None] & is_feature[None]
    value = tl.load(x + place, mask=is_there, other=0.0).to(tl.float32)
    value = tl.where(is_kept, value / kept_share, 0.0)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=is_there)


@triton.jit  # type: ignore[untyped-decorator]
def _multiply_kept(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    x,
    token_keys,
    feature_keys,
    keep,
    w,
    kept,
    out,
    slots,
    scale,
    m,
    n,
    w_slot,
    w_row,
    w_column,
    scale_slot,
    IS_SCALED: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
    INNER: tl.constexpr,
    OUTER: tl.constexpr,
):
    """Some tokens of a block, some columns; whoever has others of these tokens keeps the same."""
    first = tl.program_id(0) * ROWS
    slot = tl.load(slots + first // BLOCK).to(tl.int64)
    token = (first + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    column = tl.program_id(1) * OUTER + tl.arange(0, OUTER)[None]
    token_key, kept_share = tl.load(token_keys + token), tl.load(keep + token)
    inner = tl.arange(0, INNER)
    total = tl.zeros([ROWS, OUTER], tl.float32)
    for start in range(0, m, INNER):
        at = start + inner
        place, is_there = token * m + at[None], at[None] < m
        feature_key = tl.load(feature_keys + at, mask=at < m, other=0)[None]
        value = tl.load(x + place, mask=is_there, other=0.0).to(tl.float32)
        is_kept = _is_kept(token_key, feature_key, kept_share)
        left = tl.where(is_kept, value / kept_share, 0.0).to(x.dtype.element_ty)
        tl.store(kept + place, left, mask=is_there)
        rows = w + slot * w_slot + at[:, None] * w_row + column * w_column
        right = tl.load(rows, mask=(at[:, None] < m) & (column < n), other=0.0)
        total = tl.dot(left, right, total, input_precision=PRECISION)
    if IS_SCALED:
        total *= tl.load(scale + slot * scale_slot)
    tl.store(out + token * n + column, total.to(out.dtype.element_ty), mask=column < n)


@triton.jit  # type: ignore[untyped-decorator]
def _add_kept(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    x,
    w,
    y,
    token_keys,
    feature_keys,
    keep,
    slots,
    m,
    n,
    w_slot,
    w_row,
    w_column,
    y_row,
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
    total = multiply_tile(
        x, w, slot, token, column, m, n, w_slot, w_row, w_column, PRECISION, ROWS, INNER, OUTER
    )
    kept_share = tl.load(keep + token)
    feature_key = tl.load(feature_keys + column, mask=column < n, other=0)
    is_kept = _is_kept(tl.load(token_keys + token), feature_key, kept_share)
    place = y + token * y_row + column
    before = tl.load(place, mask=column < n, other=0.0).to(tl.float32)
    total = before + tl.where(is_kept, total / kept_share, 0.0)
    tl.store(place, total.to(y.dtype.element_ty), mask=column < n)
