"""One new token a row against that row's keys and values, as one kernel on a GPU.

A general attention kernel takes tiles of 64 or 128 queries where a row has a few query heads: it
took five times what reading the keys and values once takes on an H200 (SmolLM2-135M, 2,300 rows).
Imported only where there is a GPU: Triton comes with torch's builds for it.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 64  # columns read at a time
FEWEST_LINES = 16  # of a tensor core's tile: the query heads of a key are filled up to it


def attend_rows(
    query: Tensor, keys: Tensor, values: Tensor, starts: Tensor, lengths: Tensor, scale: float
) -> Tensor:
    """query [rows, heads, width], keys and values [columns, kv_heads, width], of which a row sees
    the `lengths` [rows] + 1 from `starts` [rows] on -> [rows, heads, width]."""
    rows, heads, width = query.shape
    kv_heads = keys.shape[1]
    query, out = query.contiguous(), torch.empty_like(query, memory_format=torch.contiguous_format)
    group = heads // kv_heads
    lines = max(FEWEST_LINES, triton.next_power_of_2(group))
    _attend[(rows, kv_heads)](
        query, keys, values, starts, lengths, out, scale,
        GROUP=group, WIDTH=width, BLOCK=BLOCK, LINES=lines,
        FEATURES=triton.next_power_of_2(width), num_warps=2,
    )  # fmt: skip
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _attend(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    query,
    keys,
    values,
    starts,
    lengths,
    out,
    scale,
    GROUP: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    LINES: tl.constexpr,
    FEATURES: tl.constexpr,
):
    """A row and a key's head; softmax as it goes (flash attention, arXiv 2205.14135)."""
    row, head, kv_heads = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.num_programs(1)
    line, feature = tl.arange(0, LINES)[:, None], tl.arange(0, FEATURES)[None]
    place = ((row * kv_heads + head) * GROUP + line) * WIDTH + feature
    is_real = (line < GROUP) & (feature < WIDTH)
    q = tl.load(query + place, mask=is_real, other=0.0)
    begin, filled = tl.load(starts + row), tl.load(lengths + row).to(tl.int32) + 1
    most = tl.full([LINES], float("-inf"), tl.float32)
    total = tl.zeros([LINES], tl.float32)
    mean = tl.zeros([LINES, FEATURES], tl.float32)
    for start in range(0, filled, BLOCK):
        column = start + tl.arange(0, BLOCK)
        at = ((begin + column[:, None]) * kv_heads + head) * WIDTH + feature
        is_there = (column[:, None] < filled) & (feature < WIDTH)
        k = tl.load(keys + at, mask=is_there, other=0.0)
        scores = tl.dot(q, tl.trans(k)) * scale
        scores = tl.where(column[None] < filled, scores, float("-inf"))
        newest = tl.maximum(most, tl.max(scores, 1))
        weights, shrunk = tl.exp(scores - newest[:, None]), tl.exp(most - newest)
        v = tl.load(values + at, mask=is_there, other=0.0)
        mean = mean * shrunk[:, None] + tl.dot(weights.to(v.dtype), v)
        total, most = total * shrunk + tl.sum(weights, 1), newest
    tl.store(out + place, (mean / total[:, None]).to(q.dtype), mask=is_real)
