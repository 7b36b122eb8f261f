"""Several next tokens at a time of every row: what beam and contrastive search have in common.

A row's prompt is held once, however many tokens branch off it. New tokens are stored in columns
behind it, and a mask says which of those each branch descends from: no key or value is copied when
beams are reordered.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainable.engine.decode.sampling import RowKey, make_processors
from trainable.engine.layers.attention import Cached
from trainable.engine.layers.scores import ScoreRules
from trainable.model.special_ids import SpecialIds
from trainable.trial import TrialConfig

LOGIT_ROWS = 2048  # rows whose logits exist at a time
# ids, positions [rows, branches] -> hidden states [rows, branches, width]
Grow = Callable[[Tensor, Tensor, "Branches"], Tensor]


class Branches(Cached):
    """New tokens of every row against the columns that each may see, its own among them."""

    def __init__(
        self, keys: list[Tensor], values: list[Tensor], visible: Tensor, column: int
    ) -> None:
        self.keys = keys  # a layer: [rows, kv_heads, columns, width]
        self.values = values
        self.visible = visible  # bool [rows, branches, columns so far]
        self.column = column  # where the first of the new tokens is stored

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, rules: ScoreRules
    ) -> Tensor:
        """query [rows, heads, branches, width] -> [rows, branches, heads, width]"""
        end = self.column + key.shape[2]
        for side, new in ((self.keys, key), (self.values, value)):
            side[layer][:, :, self.column : end] = new
        keys, values = self.keys[layer][:, :, :end], self.values[layer][:, :, :end]
        return rules.attend(query, keys, values, self.find_seen(rules)[:, None, None])

    def find_seen(self, rules: ScoreRules) -> Tensor:
        """bool [rows, branches, columns]. What a branch descends from stands in its order, so that
        a column's position is the number of visible ones before it."""
        positions = self.visible.cumsum(-1) - 1
        first = rules.first_seen(positions[..., -1:])
        return self.visible if first is None else self.visible & (positions >= first)


class PrefixCache:
    """The rows of one search: their prompts' keys and values, and room for what grows on them."""

    def __init__(self, batch: Any, prompts: Sequence[RowKey], grow: Grow) -> None:
        self.keys, self.values = batch.cache.keys, batch.cache.values
        self.lengths: Tensor = batch.lengths  # [rows]: tokens of each prompt
        self.n_prompt = int(self.lengths.max())  # columns in front of the new ones
        columns = torch.arange(self.n_prompt, device=self.lengths.device)
        self.is_prompt = columns[None] < self.lengths[:, None]  # [rows, prompt columns]
        self.origin = torch.arange(len(prompts), device=self.lengths.device)
        self.prompts = prompts
        self.grow = grow

    def forward(self, ids: Tensor, depth: int, visible: Tensor, column: int) -> Tensor:
        """The hidden states [rows, branches, width] of new tokens `ids` [rows, branches], whose
        depth is counted from the prompt's end; `visible` [rows, branches, new columns]."""
        prompt = self.is_prompt[:, None].expand(-1, ids.shape[1], -1)
        branches = Branches(
            self.keys, self.values, torch.cat([prompt, visible], -1), self.n_prompt + column
        )
        positions = (self.lengths + depth)[:, None].expand_as(ids)
        return self.grow(ids, positions, branches)

    def keep(self, alive: Tensor) -> None:
        """Only these rows go on: their numbers [rows left], int64."""
        self.lengths, self.is_prompt = self.lengths[alive], self.is_prompt[alive]
        self.origin = self.origin[alive]
        for side in (self.keys, self.values):
            for layer in range(len(side)):
                side[layer] = side[layer][alive]


class Shaper:
    """The config's repetition rules on scores, for rows that branch."""

    def __init__(self, config: TrialConfig, prefix: PrefixCache, special: SpecialIds) -> None:
        self.min_new_tokens = config.min_new_tokens
        self.eos_id = special.eos
        self.processors = make_processors(config, special)
        self.prompts = torch.empty(0)
        if self.processors:
            longest = max(len(row.prompt) for row in prefix.prompts)
            padded = np.full((len(prefix.prompts), longest), special.pad, dtype=np.int64)
            for line, row in zip(padded, prefix.prompts, strict=True):
                line[longest - len(row.prompt) :] = row.prompt
            self.prompts = torch.from_numpy(padded).to(prefix.lengths.device)

    def shape(self, scores: Tensor, rows: Tensor, made: Tensor) -> Tensor:
        """scores [rows, branches, vocabulary] after `made` [rows, branches, depth]; `rows`: their
        numbers in the prefix's first order."""
        flat = scores.flatten(0, 1)
        if self.processors:
            prompts = self.prompts[rows][:, None].expand(-1, made.shape[1], -1)
            history = torch.cat([prompts, made], dim=-1).flatten(0, 1)
            flat = self.processors(history, flat)  # type: ignore[arg-type]
        if made.shape[-1] < self.min_new_tokens:
            flat[:, self.eos_id] = float("-inf")
        return flat.view_as(scores)
