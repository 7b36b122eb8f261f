"""Gated activations, rotary positions and the loss as one kernel each, and back.

Taken step by step they cost half of a small model's pass. Compiled by torch they do not, but the
first pass waits for it (19 s beside an H200), and each call of one passes torch's guards.
Imported only where there is a GPU: Triton comes with torch's builds for it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

SILU = 1.0, 0.0  # an activation x * sigmoid(linear * x + cubic * x^3), as (linear, cubic)
GELU_TANH = 2 * math.sqrt(2 / math.pi), 2 * math.sqrt(2 / math.pi) * 0.044715

BLOCK = 1024  # numbers that a program takes of what it takes one by one
WIDE = 4096  # logits of a row, at a time


class Gate(torch.autograd.Function):
    """gates * sigmoid(linear * gates + cubic * gates^3) * up, all [..., width]: see `SILU` and
    `GELU_TANH`."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, up: Tensor, linear: float, cubic: float) -> Tensor:
        gates, up = gates.contiguous(), up.contiguous()
        out, total = torch.empty_like(up), up.numel()
        _gate[(triton.cdiv(total, BLOCK),)](gates, up, out, total, linear, cubic, BLOCK)
        ctx.save_for_backward(gates, up)
        ctx.curve = linear, cubic
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (gates, up), grad = ctx.saved_tensors, grads[0].contiguous()
        d_gates, d_up, total = torch.empty_like(gates), torch.empty_like(up), up.numel()
        _gate_back[(triton.cdiv(total, BLOCK),)](
            gates, up, grad, d_gates, d_up, total, *ctx.curve, BLOCK
        )
        return d_gates, d_up, None, None


class Rotate(torch.autograd.Function):
    """x [batch, heads, tokens, width] with its first features turned by cos and sin [batch or 1,
    tokens, features]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        shape = x.shape[0], x.shape[2], cos.shape[-1]
        cos, sin = (side.expand(shape).contiguous() for side in (cos, sin))
        ctx.save_for_backward(cos, sin)
        return rotate(x, cos, sin, back=False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return rotate(grads[0], *ctx.saved_tensors, back=True), None, None


def rotate(x: Tensor, cos: Tensor, sin: Tensor, *, back: bool) -> Tensor:
    """Forward, or the gradient's way back: x [batch, heads, tokens, width], cos and sin [batch,
    tokens, features] -> x's shape."""
    x = x.transpose(1, 2).contiguous()  # as the projection left it
    out, features = torch.empty_like(x), cos.shape[-1]
    batch, tokens, heads, width = x.shape
    _rotate[(batch * tokens,)](
        x, cos, sin, out, heads, width, features, BACK=back,
        HEADS=triton.next_power_of_2(heads), HALF=triton.next_power_of_2(features // 2),
        REST=triton.next_power_of_2(max(width - features, 1)), IS_WHOLE=features == width,
    )  # fmt: skip
    return out.transpose(1, 2)


def derive_loss_here(logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """As `trainable.engine.train.loss.derive_loss`: nats [targets], and the gradient [targets,
    vocabulary], which takes the logits' place."""
    nats = torch.empty(len(logits), device=logits.device)
    vocabulary = logits.shape[1]
    _loss[(len(logits),)](logits, labels, weights, nats, vocabulary, WIDE, num_warps=8)
    return nats, logits


@triton.jit  # type: ignore[untyped-decorator]
def _gate(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    gates, up, out, total, linear, cubic, BLOCK: tl.constexpr
):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    is_there = place < total
    g = tl.load(gates + place, mask=is_there, other=0.0)
    x = g.to(tl.float32)
    open_by = x * tl.sigmoid(x * (linear + cubic * x * x))
    u = tl.load(up + place, mask=is_there, other=0.0).to(tl.float32)
    tl.store(out + place, (open_by.to(g.dtype).to(tl.float32) * u).to(g.dtype), mask=is_there)


@triton.jit  # type: ignore[untyped-decorator]
def _gate_back(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    gates, up, grad, d_gates, d_up, total, linear, cubic, BLOCK: tl.constexpr
):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    is_there = place < total
    given = tl.load(grad + place, mask=is_there, other=0.0)
    grad_y = given.to(tl.float32)
    g = tl.load(gates + place, mask=is_there, other=0.0).to(tl.float32)
    u = tl.load(up + place, mask=is_there, other=0.0).to(tl.float32)
    share = tl.sigmoid(g * (linear + cubic * g * g))
    tl.store(d_up + place, (grad_y * g * share).to(given.dtype), mask=is_there)
    slope = share * (1.0 + g * (1.0 - share) * (linear + 3.0 * cubic * g * g))
    tl.store(d_gates + place, (grad_y * u * slope).to(given.dtype), mask=is_there)


@triton.jit  # type: ignore[untyped-decorator]
def _rotate(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    x, cos, sin, out, heads, width, features,
    BACK: tl.constexpr, HEADS: tl.constexpr, HALF: tl.constexpr, REST: tl.constexpr,
    IS_WHOLE: tl.constexpr,
):  # fmt: skip
    """A token. The halves of the features turn against each other (RoFormer, arXiv 2104.09864)."""
    token = tl.program_id(0).to(tl.int64)
    head, one = tl.arange(0, HEADS)[:, None], tl.arange(0, HALF)[None]
    half = features // 2
    is_there = (head < heads) & (one < half)
    place = (token * heads + head) * width + one
    first = tl.load(x + place, mask=is_there, other=0.0).to(tl.float32)
    second = tl.load(x + place + half, mask=is_there, other=0.0).to(tl.float32)
    at = token * features + one
    cos_first = tl.load(cos + at, mask=one < half, other=0.0).to(tl.float32)
    cos_second = tl.load(cos + at + half, mask=one < half, other=0.0).to(tl.float32)
    sin_first = tl.load(sin + at, mask=one < half, other=0.0).to(tl.float32)
    sin_second = tl.load(sin + at + half, mask=one < half, other=0.0).to(tl.float32)
    if BACK:
        turned_first = first * cos_first + second * sin_second
        turned_second = second * cos_second - first * sin_first
    else:
        turned_first = first * cos_first - second * sin_first
        turned_second = second * cos_second + first * sin_second
    tl.store(out + place, turned_first.to(out.dtype.element_ty), mask=is_there)
    tl.store(out + place + half, turned_second.to(out.dtype.element_ty), mask=is_there)
    if not IS_WHOLE:
        left = features + tl.arange(0, REST)[None]
        place = (token * heads + head) * width + left
        is_left = (head < heads) & (left < width)
        tl.store(out + place, tl.load(x + place, mask=is_left), mask=is_left)


@triton.jit  # type: ignore[untyped-decorator]
def _loss(logits, labels, weights, nats, vocabulary, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    first, one = logits + row * vocabulary, tl.arange(0, BLOCK)
    label, weight = tl.load(labels + row), tl.load(weights + row)
    own = tl.load(first + label).to(tl.float32)  # before it is overwritten
    most = tl.full([BLOCK], -1e30, tl.float32)  # finite: a lane may see nothing
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, vocabulary, BLOCK):
        is_there = start + one < vocabulary
        score = tl.load(first + start + one, mask=is_there, other=-1e30).to(tl.float32)
        newest = tl.maximum(most, score)
        grown = tl.exp(score - newest)
        total = total * tl.exp(most - newest) + tl.where(is_there, grown, 0.0)
        most = newest
    largest = tl.max(most, 0)
    log_sum = largest + tl.log(tl.sum(total * tl.exp(most - largest), 0))
    tl.store(nats + row, log_sum - own)
    for start in range(0, vocabulary, BLOCK):
        column = start + one
        score = tl.load(first + column, mask=column < vocabulary, other=0.0).to(tl.float32)
        grad_logits = (tl.exp(score - log_sum) - tl.where(column == label, 1.0, 0.0)) * weight
        tl.store(first + column, grad_logits.to(logits.dtype.element_ty), mask=column < vocabulary)
