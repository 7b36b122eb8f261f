"""How a layer turns queries and keys into weights: scale, soft cap, window, chunk and sink.

What each architecture gives transformers' attention functions as keyword arguments, in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ScoreRules:
    """scores = cap * tanh(q k scale / cap); a key is seen within the window and the chunk."""

    scale: float
    cap: float | None = None
    window: int | None = None  # tokens that a token sees, itself among them
    chunk: int | None = None  # tokens of a chunk: none is seen from another one
    sinks: Tensor | None = None  # [heads]: a score that no value belongs to

    def first_seen(self, position: Tensor) -> Tensor | None:
        """The first position that each of these sees, both [...]; None: all of them see 0."""
        if self.chunk is not None:
            return position // self.chunk * self.chunk
        return None if self.window is None else (position + 1 - self.window).clamp_min(0)

    def sees_all(self, longest: int) -> bool:
        """Whether no sequence of so many tokens has one that is hidden from a later one."""
        return all(size is None or size >= longest for size in (self.window, self.chunk))

    def make_mask(self, longest: int, device: torch.device) -> Tensor:
        """bool [longest, longest]: whether a query (row) sees a key."""
        position = torch.arange(longest, device=device)
        is_seen = position[None] <= position[:, None]
        first = self.first_seen(position)
        return is_seen if first is None else is_seen & (position[None] >= first[:, None])

    def weigh(self, products: Tensor, is_seen: Tensor) -> Tensor:
        """products [rows, kv_heads, group, queries, keys], is_seen alike or broadcast -> the
        weights of the keys, in 32 bits."""
        scores = products.float() * self.scale
        if self.cap is not None:
            scores = self.cap * torch.tanh(scores / self.cap)
        scores = scores.masked_fill(~is_seen, float("-inf"))
        if self.sinks is None:
            return scores.softmax(-1)
        sink = self.sinks.float().view(1, scores.shape[1], -1, 1, 1)
        with_sink = torch.cat([scores, sink.expand(*scores.shape[:-1], 1)], dim=-1)
        return with_sink.softmax(-1)[..., :-1]

    def before_products(self, query: Tensor) -> tuple[Tensor, ScoreRules]:
        """Queries [..., width] as they are to be multiplied, and the rules that are left. In fp16
        they are scaled already: products of long heads would pass 65504."""
        if query.dtype != torch.float16:
            return query, self
        return query * self.scale, replace(self, scale=1.0)

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, is_seen: Tensor) -> Tensor:
        """query [rows, heads, queries, width], keys and values [rows, kv_heads, keys, width] ->
        [rows, queries, heads, width of values]"""
        query, rules = self.before_products(query)
        lines = query.unflatten(1, (keys.shape[1], -1)).flatten(2, 3)  # a head's own side by side
        products = (lines @ keys.mT).unflatten(2, (-1, query.shape[2]))
        weights = rules.weigh(products, is_seen).to(values.dtype)
        out = (weights.flatten(2, 3) @ values).unflatten(2, (-1, query.shape[2]))
        return out.flatten(1, 2).transpose(1, 2).contiguous()


def read_rules(
    module: Any, width: int, scaling: float | None, given: Mapping[str, Any]
) -> ScoreRules:
    """Of an attention layer, from what its model passes to transformers' attention function."""
    sinks = given.get("s_aux")
    window, chunk = read_reach(module, given)
    return ScoreRules(
        scale=width**-0.5 if scaling is None else scaling,
        cap=given.get("softcap"),
        window=window,
        chunk=chunk,
        sinks=None if sinks is None else sinks.detach(),
    )


def read_reach(module: Any, given: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Window and chunk of a layer. Models whose masks alone know them name the layer's type in
    their configuration."""
    if "sliding_window" in given:
        return given["sliding_window"], None
    sizes = getattr(module, "config", None)
    window = getattr(sizes, "sliding_window", None)
    types = getattr(sizes, "layer_types", None)
    if types is None:
        return window, None
    kind = types[module.layer_idx]
    chunk = getattr(sizes, "attention_chunk_size", None)
    return (
        window if kind == "sliding_attention" else None,
        chunk if kind == "chunked_attention" else None,
    )
