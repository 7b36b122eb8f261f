"""`trainable.engine.slots.adamw.step_rows` as one kernel on a GPU, over the rows that step alone.

Compiled by torch it went over all rows whenever one stepped, and the first step waited for seconds.
Imported only where there is a GPU: Triton comes with torch's builds for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from trainable.engine import kernels

NUMBERS = 1024  # of a row, by one program
BETA1, BETA2 = tl.constexpr(kernels.BETA1), tl.constexpr(kernels.BETA2)
EPSILON = tl.constexpr(kernels.EPSILON)


def step_rows_on_gpu(kept: Sequence[Tensor], grads: Tensor, numbers: Tensor, paces: Tensor) -> None:
    """As `step_rows`, of numbers [slots, 6]."""
    (slots, width), (decay, rate) = grads.shape, paces.unbind()
    assert all(rows.stride() == grads.stride() for rows in kept), "rows of one bank"
    a_number = paces.stride(2) if paces.shape[2] > 1 else 0  # else the row's own
    _step[triton.cdiv(width, NUMBERS), slots](
        *kept, grads, numbers, decay, rate, width, grads.stride(0),
        numbers.stride(0), paces.stride(1), a_number, NUMBERS=NUMBERS,
    )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _step(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    weights,  # not `params`, a name that Triton's launcher takes for itself
    average,
    exp_avg,
    exp_avg_sq,
    grads,
    numbers,
    decays,
    rates,
    width,
    row,
    numbers_slot,
    pace_slot,
    pace_number,
    NUMBERS: tl.constexpr,
):
    """Some numbers of a slot's row."""
    slot = tl.program_id(1).to(tl.int64)
    own = numbers + slot * numbers_slot
    if tl.load(own) == 0.0:
        return
    number = tl.program_id(0) * NUMBERS + tl.arange(0, NUMBERS)
    is_there = number < width
    at = slot * row + number
    if tl.load(own + 1) != 0.0:
        pace = slot * pace_slot + number * pace_number
        decay = tl.load(decays + pace, mask=is_there, other=1.0)
        rate = tl.load(rates + pace, mask=is_there, other=0.0) / tl.load(own + 3)
        clipped = tl.load(grads + at, mask=is_there, other=0.0) * tl.load(own + 2)
        mean = tl.load(exp_avg + at, mask=is_there, other=0.0)
        mean += (1.0 - BETA1) * (clipped - mean)
        square = tl.load(exp_avg_sq + at, mask=is_there, other=0.0) * BETA2
        square += (1.0 - BETA2) * clipped * clipped
        spread = tl.sqrt(square) / tl.load(own + 4) + EPSILON
        weight = tl.load(weights + at, mask=is_there, other=0.0) * decay - rate * (mean / spread)
        tl.store(exp_avg + at, mean, mask=is_there)
        tl.store(exp_avg_sq + at, square, mask=is_there)
        tl.store(weights + at, weight, mask=is_there)
        share = tl.load(own + 5)
        if share < 1.0:
            before = tl.load(average + at, mask=is_there, other=0.0)
            weight = before + share * (weight - before)
        tl.store(average + at, weight, mask=is_there)
    tl.store(grads + at, tl.zeros([NUMBERS], tl.float32), mask=is_there)
