"""`trainable.engine.layers.dropout.apply_mask` as one kernel on a GPU, with its very masks.

Compiled by torch for any shape it divides for every number to find its token (39 us a call where
the bytes moved need 11, on an H200), and the host passes torch's guards hundreds of times a pass.
Imported only where there is a GPU: Triton comes with torch's builds for it.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TOKENS, FEATURES = 16, 128  # a program's tile


def mask_on_gpu(x: Tensor, token_keys: Tensor, feature_keys: Tensor, keep: Tensor) -> Tensor:
    """As `apply_mask`: x [tokens, width], keys [tokens, 1] and [width] -> x's shape."""
    tokens, width = x.shape
    x = x.contiguous()
    out = torch.empty_like(x)
    grid = triton.cdiv(tokens, TOKENS), triton.cdiv(width, FEATURES)
    _mask[grid](x, token_keys, feature_keys, keep, out, tokens, width, TOKENS, FEATURES)
    return out


@triton.jit
def is_kept_here(token_key, feature_key, kept_share):  # type: ignore[no-untyped-def]
    """Of each token and feature: the hash of trainable.model.counter.mix, below the share."""
    bits = (token_key + feature_key).to(tl.uint32, bitcast=True)
    bits = (bits ^ (bits >> 16)) * 0x7FEB352D
    bits = (bits ^ (bits >> 15)) * 0x846CA68B
    return ((bits ^ (bits >> 16)) >> 8).to(tl.float32) * (1.0 / 16777216) < kept_share


@triton.jit(do_not_specialize=["tokens"])  # type: ignore[untyped-decorator]
def _mask(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    x, token_keys, feature_keys, keep, out, tokens, width,
    TOKENS: tl.constexpr, FEATURES: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    feature = tl.program_id(1) * FEATURES + tl.arange(0, FEATURES)
    is_token, is_feature = token < tokens, feature < width
    token_key = tl.load(token_keys + token, mask=is_token, other=0)[:, None]
    feature_key = tl.load(feature_keys + feature, mask=is_feature, other=0)[None]
    kept_share = tl.load(keep + token, mask=is_token, other=1.0)[:, None]
    is_kept = is_kept_here(token_key, feature_key, kept_share)
    place = token.to(tl.int64)[:, None] * width + feature[None]
    is_there = is_token[:, None] & is_feature[None]
    value = tl.load(x + place, mask=is_there, other=0.0).to(tl.float32)
    value = tl.where(is_kept, value / kept_share, 0.0)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=is_there)
