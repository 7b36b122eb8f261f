"""Causal attention over a flat row of sequences, by torch's kernels for 16 bits on a GPU.

bf16 is computed by the flash kernel, which needs compute capability 8.0; fp16, whatever the GPU, by
the memory-efficient one, which a T4 has too: what is forced to fp16 runs as it does there.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

from trainable.engine.layers.scores import ScoreRules

KERNEL_WIDTH = 256  # of a head: the most that the flash kernel takes
ALIGNED = 8  # numbers: what the other one reads at a time
FROM_THE_START = 1  # its causal mask
# Up to torch 2.11 the kernel groups queries without being told.
GROUPED: dict[str, Any] = (
    {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}
)


def fits_kernel(query: Tensor, value: Tensor, rules: ScoreRules, longest: int) -> bool:
    """Whether one of the kernels computes these rules, of sequences up to `longest` tokens; query
    [tokens, heads, width], value [tokens, kv_heads, width]."""
    width, is_fp16 = query.shape[-1], query.dtype == torch.float16
    if not query.is_cuda or query.dtype == torch.float32 or width != value.shape[-1]:
        return False
    if rules.cap is not None or rules.sinks is not None:
        return False
    if is_fp16:
        return width % ALIGNED == 0 and rules.sees_all(longest)
    return width <= KERNEL_WIDTH and (rules.chunk is None or rules.chunk >= longest)


def attend_flat(
    query: Tensor, key: Tensor, value: Tensor, borders: Tensor, longest: int, rules: ScoreRules
) -> Tensor:
    """query [tokens, heads, width], key and value [tokens, kv_heads, width], borders [sequences +
    1] -> [tokens, heads, width]"""
    attend = attend_efficiently if query.dtype == torch.float16 else attend_flash
    return attend(query.contiguous(), key.contiguous(), value.contiguous(), borders, longest, rules)


def attend_flash(
    query: Tensor, key: Tensor, value: Tensor, borders: Tensor, longest: int, rules: ScoreRules
) -> Tensor:
    """FlashAttention (arXiv 2307.08691): [tokens, heads, width], all shapes as `attend_flat`."""
    before = -1 if rules.window is None else rules.window - 1
    out = varlen_attn(
        query, key, value, borders, borders, longest, longest,
        scale=rules.scale, window_size=(before, 0), **GROUPED,
    )  # fmt: skip
    assert isinstance(out, Tensor)
    return out


def attend_efficiently(
    query: Tensor, key: Tensor, value: Tensor, borders: Tensor, longest: int, rules: ScoreRules
) -> Tensor:
    """Rabe and Staats 2021, arXiv 2112.05682: [tokens, heads, width], all shapes as `attend_flat`.
    It knows no grouped queries."""
    group = query.shape[1] // key.shape[1]
    if group > 1:
        key, value = (side.repeat_interleave(group, 1) for side in (key, value))
    longest = min(longest, query.shape[0])  # its way back refuses more than there are
    out: Tensor = torch.ops.aten._efficient_attention_forward(
        query[None], key[None], value[None], None, borders, borders, longest, longest,
        0.0, FROM_THE_START, compute_log_sumexp=torch.is_grad_enabled(), scale=rules.scale,
    )[0]  # fmt: skip
    return out[0]
