"""One new token a row against that row's keys and values, as one kernel on a GPU.

A general attention kernel takes tiles of 64 or 128 queries where a row has a few query heads: it
took five times what reading the keys and values once takes on an H200 (SmolLM2-135M, 2,300 rows).
Imported only where there is a GPU: Triton comes with torch's builds for it.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

BLOCK = 64  # columns read at a time
FEWEST_LINES = 16  # of a tensor core's tile: the query heads of a key are filled up to it


def attend_rows(  # noqa: PLR0913
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    starts: Tensor,
    lengths: Tensor,
    *,
    scale: float,
    first: Tensor | None = None,
    cap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """query [rows, heads, width], keys and values [columns, kv_heads, width], of which a row sees
    the `lengths` [rows] + 1 from `starts` [rows] on, or those from its `first` [rows] of them; the
    scores capped, beside `sinks` [heads] -> [rows, heads, width of values]."""
    rows, heads, width = query.shape
    kv_heads, value_width = values.shape[1:]
    query, out = query.contiguous(), query.new_empty(rows, heads, value_width)
    group = heads // kv_heads
    lines = max(FEWEST_LINES, triton.next_power_of_2(group))
    _attend[(rows, kv_heads)](
        query, keys, values, starts, lengths, out, scale, cap or 0.0,
        lengths if first is None else first, query if sinks is None else sinks,
        GROUP=group, WIDTH=width, VALUE_WIDTH=value_width, BLOCK=BLOCK, LINES=lines,
        FEATURES=triton.next_power_of_2(width), VALUES=triton.next_power_of_2(value_width),
        HAS_FIRST=first is not None, HAS_CAP=cap is not None,
        HAS_SINKS=sinks is not None, num_warps=2,
    )  # fmt: skip
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _attend(  # type: ignore[no-untyped-def]  # noqa: PLR0913
    query, keys, values, starts, lengths, out, scale, cap, firsts, sinks,
    GROUP: tl.constexpr, WIDTH: tl.constexpr, VALUE_WIDTH: tl.constexpr, BLOCK: tl.constexpr,
    LINES: tl.constexpr, FEATURES: tl.constexpr, VALUES: tl.constexpr, HAS_FIRST: tl.constexpr,
    HAS_CAP: tl.constexpr, HAS_SINKS: tl.constexpr,
):  # fmt: skip
    """A row and a key's head; softmax as it goes (flash attention, arXiv 2205.14135)."""
    row, head, kv_heads = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.num_programs(1)
    line, feature = tl.arange(0, LINES)[:, None], tl.arange(0, FEATURES)[None]
    one = tl.arange(0, VALUES)[None]  # of a value's features
    query_head = (row * kv_heads + head) * GROUP + line
    is_real = (line < GROUP) & (feature < WIDTH)
    q = tl.load(query + query_head * WIDTH + feature, mask=is_real, other=0.0)
    begin, filled = tl.load(starts + row), tl.load(lengths + row).to(tl.int32) + 1
    first = 0
    if HAS_FIRST:
        first = tl.load(firsts + row).to(tl.int32)
    most = tl.full([LINES], float("-inf"), tl.float32)
    total = tl.zeros([LINES], tl.float32)
    mean = tl.zeros([LINES, VALUES], tl.float32)
    for start in range(first // BLOCK * BLOCK, filled, BLOCK):
        column = start + tl.arange(0, BLOCK)
        at = (begin + column[:, None]) * kv_heads + head
        is_there = column[:, None] < filled
        k = tl.load(keys + at * WIDTH + feature, mask=is_there & (feature < WIDTH), other=0.0)
        scores = tl.dot(q, tl.trans(k)) * scale
        if HAS_CAP:
            scores = cap * (2.0 * tl.sigmoid(2.0 * scores / cap) - 1.0)  # tanh
        is_seen = column[None] < filled
        if HAS_FIRST:
            is_seen = is_seen & (column[None] >= first)
        scores = tl.where(is_seen, scores, float("-inf"))
        newest = tl.maximum(most, tl.max(scores, 1))
        weights, shrunk = tl.exp(scores - newest[:, None]), tl.exp(most - newest)
        v = tl.load(values + at * VALUE_WIDTH + one, mask=is_there & (one < VALUE_WIDTH), other=0.0)
        mean = mean * shrunk[:, None] + tl.dot(weights.to(v.dtype), v)
        total, most = total * shrunk + tl.sum(weights, 1), newest
    if HAS_SINKS:
        lines = head * GROUP + tl.arange(0, LINES)
        sink = tl.load(sinks + lines, mask=tl.arange(0, LINES) < GROUP, other=0.0).to(tl.float32)
        total += tl.exp(sink - most)
    is_real = (line < GROUP) & (one < VALUE_WIDTH)
    result = (mean / total[:, None]).to(q.dtype)
    tl.store(out + query_head * VALUE_WIDTH + one, result, mask=is_real)
