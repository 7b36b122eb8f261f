"""Attention over packed dialogues: many sequences in one flat row of tokens, none sees another.

Registered with transformers as the attention named `packed`; a pass hands its `Packing` down
through the model's keyword arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface

from trainable.engine.device.transfer import to_device
from trainable.engine.layers.scores import ScoreRules, read_rules
from trainable.engine.layers.varlen import attend_flat, fits_kernel

NAME = "packed"


class Packing:
    """Where the sequences of a flat row of tokens begin and end.

    On a GPU in 16 bits a variable-length kernel takes the flat row as it is; on a CPU one
    sequence follows another. Elsewhere, and where neither knows a layer's rules, the sequences are
    laid out as a right-padded batch and back: exact, and a padded place is zero, so that nothing,
    not even a NaN, crosses from one dialogue to another.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        # a bound of few values, so that passes repeat; the kernel looks at no more than that
        self.longest = 1 << max(max(lengths) - 1, 127).bit_length()
        self.sizes = tuple(int(n) for n in lengths)
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.starts = np.cumsum(self.lengths) - self.lengths
        borders = np.append(self.starts, self.lengths.sum()).astype(np.int32)
        self.borders = to_device(borders, device)  # [sequences + 1]
        self.device = device
        self.kept: list[tuple[Tensor, Tensor]] | None = None  # keys, values of each layer
        self.is_laid_out = False  # by lengths that the host knows: no other pass can repeat it

    def positions(self) -> Tensor:
        """Position ids [1, tokens] that restart with every sequence."""
        starts = np.repeat(self.starts, self.lengths)
        return to_device(np.arange(len(starts)) - starts, self.device)[None]

    @cached_property
    def to_batch(self) -> Tensor:
        """[sequences, longest]: each place's token; the one behind the last where it is padding."""
        columns = np.arange(self.lengths.max())
        tokens = self.starts[:, None] + columns
        is_real = columns < self.lengths[:, None]
        return to_device(np.where(is_real, tokens, self.lengths.sum()), self.device)

    @cached_property
    def to_flat(self) -> Tensor:
        """[tokens]: each token's place in the flattened batch."""
        is_real = np.arange(self.lengths.max()) < self.lengths[:, None]
        return to_device(np.flatnonzero(is_real), self.device)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, rules: ScoreRules) -> Tensor:
        """query [1, heads, tokens, width], key and value [1, kv_heads, tokens, width] ->
        [1, tokens, heads, width of values]"""
        # [tokens, heads, width]; not x[0], whose gradient is a copy into zeros
        q, k, v = (x.squeeze(0).transpose(0, 1) for x in (query, key, value))
        if self.kept is not None:
            self.kept.append((k, v))
        if fits_kernel(q, v, rules, self.longest):
            return attend_flat(q, k, v, self.borders, self.longest, rules)[None]
        if not q.is_cuda and rules.cap is None and rules.sinks is None:
            return self._attend_each(q, k, v, rules)
        self.is_laid_out = True
        q, k, v = (F.pad(x, (0, 0, 0, 0, 0, 1))[self.to_batch].transpose(1, 2) for x in (q, k, v))
        return self._attend_batch(q, k, v, rules).flatten(0, 1)[self.to_flat][None]

    def _attend_each(self, q: Tensor, k: Tensor, v: Tensor, rules: ScoreRules) -> Tensor:
        """Without padding, which costs a CPU as much as text does.
        q, k, v [tokens, heads, width] -> [1, tokens, heads, width]"""
        queries, keys, values = (x.transpose(0, 1)[None].split(self.sizes, 2) for x in (q, k, v))
        outs = [
            self._attend_batch(*sides, rules) for sides in zip(queries, keys, values, strict=True)
        ]
        return torch.cat(outs, 1)

    def _attend_batch(self, q: Tensor, k: Tensor, v: Tensor, rules: ScoreRules) -> Tensor:
        """q [sequences, heads, longest, width] -> [sequences, longest, heads, width]"""
        longest = q.shape[2]
        if rules.cap is None and rules.sinks is None:
            is_causal = rules.sees_all(longest)
            mask = None if is_causal else rules.make_mask(longest, q.device)
            out = F.scaled_dot_product_attention(
                q, k, v, mask, is_causal=is_causal, scale=rules.scale, enable_gqa=True
            )
            return out.transpose(1, 2)
        # scores of all pairs: made again on the way back, and not kept for every layer
        mask = rules.make_mask(longest, q.device)
        made: Tensor = checkpoint(rules.attend, q, k, v, mask, use_reentrant=False)
        return made


class Cached:
    """One new token a row against that row's keys and values so far."""

    def __init__(self, keys: list[Tensor], values: list[Tensor], lengths: Tensor) -> None:
        self.keys = keys  # a layer: [rows, kv_heads, columns, width]
        self.values = values
        self.lengths = lengths  # int64 [rows]: filled columns
        self.rows = torch.arange(len(lengths), device=lengths.device)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, rules: ScoreRules
    ) -> Tensor:
        """query [rows, heads, 1, width] -> [rows, 1, heads, width]; the new token is stored."""
        keys, values = self.keys[layer], self.values[layer]
        keys[self.rows, :, self.lengths] = key[:, :, 0]
        values[self.rows, :, self.lengths] = value[:, :, 0]
        columns = torch.arange(keys.shape[2], device=keys.device)
        is_seen = columns <= self.lengths[:, None]
        first = rules.first_seen(self.lengths)
        if first is not None:
            is_seen &= columns >= first[:, None]
        return rules.attend(query, keys, values, is_seen[:, None, None, None])


class CachedFlat(Cached):
    """The same for 16 bits on a GPU, where rows' columns lie one row after another and a kernel
    reads those that are filled alone, once for all queries of a key. keys and values [columns,
    kv_heads, width]."""

    def __init__(
        self, keys: list[Tensor], values: list[Tensor], lengths: Tensor, starts: Tensor
    ) -> None:
        super().__init__(keys, values, lengths)
        self.starts = starts  # int64 [rows]

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, rules: ScoreRules
    ) -> Tensor:
        """As `Cached.attend`."""
        keys, values = self.keys[layer], self.values[layer]
        newest = self.starts + self.lengths
        keys[newest], values[newest] = key[:, :, 0], value[:, :, 0]
        from trainable.engine.kernels.row_attention import attend_rows

        out = attend_rows(
            query[:, :, 0], keys, values, self.starts, self.lengths,
            scale=rules.scale, first=rules.first_seen(self.lengths), cap=rules.cap,
            sinks=rules.sinks,
        )  # fmt: skip
        return out[:, None]


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention signature, for query [rows, heads, tokens, width], key and value
    [rows, kv_heads, tokens, width] -> [rows, tokens, heads, width]; the pass is in the keyword
    argument `packing` (`Packing.attend`, `Cached.attend`)."""
    packing = kwargs["packing"]
    rules = read_rules(module, query.shape[-1], scaling, kwargs)
    if isinstance(packing, Cached):
        return packing.attend(int(module.layer_idx), query, key, value, rules), None  # type: ignore[arg-type]
    return packing.attend(query, key, value, rules), None


AttentionInterface.register(NAME, packed_attention)
