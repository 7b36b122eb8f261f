"""Each dialogue's keys and values once, whatever the number of its replies: for a CPU, where
decoding takes as long as these are read, and copying them for every row as long again."""

from functools import cached_property

import torch
from torch import Tensor

from trainable.engine.decode.row_cache import RowCache, pad_prefixes
from trainable.engine.layers.attention import Cached
from trainable.engine.layers.scores import ScoreRules


class SharedCache(RowCache):
    """keys and values [dialogues, kv_heads, columns, width] of the prefixes, and of what each row
    adds to its own [rows, kv_heads, room, width]. All rows have added equally many."""

    def __init__(self, begins: Tensor, lengths: Tensor, room: int) -> None:
        """`begins`, `lengths` [rows]: where a row's prefix lies in the prefill; rows that begin
        together have one prefix. `room`: tokens that a row may add."""
        super().__init__()
        starts, self.dialogues = begins.unique(return_inverse=True)  # of each row
        longest = torch.zeros_like(starts).scatter_reduce_(0, self.dialogues, lengths, "amax")
        self.index, self.room = pad_prefixes(starts, longest), room
        self.prefixes = lengths.clone()  # theirs goes on to grow
        self.own: list[tuple[Tensor, Tensor]] = []  # of each layer
        self.group = Grouping(self.dialogues)

    def add_layer(self, key: Tensor, value: Tensor) -> None:  # [tokens, kv_heads, width]
        super().add_layer(key, value)
        rows = len(self.dialogues)
        self.own.append(
            (
                key.new_empty(rows, key.shape[1], self.room, key.shape[2]),
                value.new_empty(rows, value.shape[1], self.room, value.shape[2]),
            )
        )

    def copy(self, side: Tensor) -> Tensor:  # [dialogues, kv_heads, columns, width]
        return side[self.index].transpose(1, 2).contiguous()

    def keep(self, rows: Tensor) -> None:  # [rows left]
        alive, self.dialogues = self.dialogues[rows].unique(return_inverse=True)
        self.prefixes = self.prefixes[rows]
        self.own = [(keys[rows], values[rows]) for keys, values in self.own]
        columns = int(self.prefixes.max())
        for side in (self.keys, self.values):
            for layer in range(len(side)):
                side[layer] = side[layer][alive, :, :columns]
        self.group = Grouping(self.dialogues)

    def view(self, lengths: Tensor) -> Cached:  # [rows]
        return CachedShared(self, lengths)


class Grouping:
    """Rows side by side with those of the same dialogue, and back."""

    def __init__(self, dialogues: Tensor) -> None:
        """`dialogues` [rows]: numbers of all that there are."""
        order = dialogues.argsort(stable=True)
        counts = dialogues.bincount()
        firsts = (counts.cumsum(0) - counts).repeat_interleave(counts)
        self.most = int(counts.max())  # rows of one dialogue
        every = torch.arange(len(dialogues), device=dialogues.device)
        self.places = torch.empty_like(dialogues)  # [rows], in the flattened groups
        self.places[order] = dialogues[order] * self.most + every - firsts
        self.rows = dialogues.new_zeros(len(counts) * self.most)  # a row too many where one lacks
        self.rows[self.places] = every

    def multiply(self, lines: Tensor, matrices: Tensor) -> Tensor:
        """lines [rows, kv_heads, group, in] @ matrices [dialogues, kv_heads, in, out] of their
        dialogues -> [rows, kv_heads, group, out]"""
        grouped = lines[self.rows].unflatten(0, (-1, self.most)).transpose(1, 2)
        products = grouped.flatten(2, 3) @ matrices
        return products.unflatten(2, (self.most, -1)).transpose(1, 2).flatten(0, 1)[self.places]


class CachedShared(Cached):
    """One new token a row against its dialogue's prefix and its own tokens."""

    def __init__(self, cache: SharedCache, lengths: Tensor) -> None:  # lengths [rows]
        super().__init__(cache.keys, cache.values, lengths)
        self.cache = cache
        self.n_own = int((lengths[:1] - cache.prefixes[:1]).item()) + 1  # the new one among them

    @cached_property
    def positions(self) -> Tensor:
        """[rows, columns of the prefix and own ones]"""
        n_prefix, prefixes = self.keys[0].shape[2], self.cache.prefixes[:, None]
        prefix = torch.arange(n_prefix, device=prefixes.device).expand(len(prefixes), -1)
        own = torch.arange(self.n_own, device=prefixes.device) + prefixes
        return torch.cat([prefix.where(prefix < prefixes, NOWHERE), own], dim=-1)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, rules: ScoreRules
    ) -> Tensor:
        """As `Cached.attend`, of one token a row: query [rows, heads, 1, width], key and value
        [rows, kv_heads, 1, width] -> [rows, 1, heads, width]."""
        keys, values = (side[:, :, : self.n_own] for side in self.cache.own[layer])
        keys[:, :, -1], values[:, :, -1] = key[:, :, 0], value[:, :, 0]
        query, rules = rules.before_products(query)
        lines = query[:, :, 0].unflatten(1, (keys.shape[1], -1))  # [rows, kv_heads, group, width]
        multiply, n_prefix = self.cache.group.multiply, self.keys[layer].shape[2]
        products = torch.cat([multiply(lines, self.keys[layer].mT), lines @ keys.mT], dim=-1)
        weights = rules.weigh(products[:, :, :, None], self._find_seen(rules))[:, :, :, 0]
        weights = weights.to(value.dtype)
        out = multiply(weights[..., :n_prefix], self.values[layer])
        out += weights[..., n_prefix:] @ values
        return out.flatten(1, 2)[:, None]

    def _find_seen(self, rules: ScoreRules) -> Tensor:
        """Which columns each row sees, bool [rows, 1, 1, 1, columns]."""
        first = rules.first_seen(self.lengths)
        least = torch.zeros_like(self.lengths) if first is None else first
        return (self.positions >= least[:, None])[:, None, None, None]


NOWHERE = -1  # the position of a column that is no token of a row's
