"""The keys and values of the rows of a decoding: each row's prefix, and room for its reply."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from trainable.engine.layers.attention import Cached, CachedFlat


def lies_flat(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether rows that take one token a pass lie one after another there, none padded."""
    return device.type == "cuda" and dtype != torch.float32


class RowCache(ABC):
    """A layer's keys and values at a time, copied out of a prefill."""

    def __init__(self) -> None:
        self.keys: list[Tensor] = []  # of each layer
        self.values: list[Tensor] = []

    def add_layer(self, key: Tensor, value: Tensor) -> None:
        """Those of the prefill, [tokens, kv_heads, width]."""
        self.keys.append(self.copy(key))
        self.values.append(self.copy(value))

    @abstractmethod
    def copy(self, side: Tensor) -> Tensor:
        """Every row's prefix of a side [tokens, kv_heads, width] of the prefill."""

    @abstractmethod
    def keep(self, rows: Tensor) -> None:
        """Only these rows go on: their numbers [rows left], int64."""

    @abstractmethod
    def view(self, lengths: Tensor) -> Cached:
        """For a pass of rows that are so long by now: [rows]."""


class PaddedCache(RowCache):
    """Rows padded to the longest: [rows, kv_heads, columns, width]."""

    def __init__(self, begins: Tensor, lengths: Tensor, room: int) -> None:
        """`begins`, `lengths` [rows]: where a row's prefix lies in the prefill. `room`: columns
        behind it."""
        super().__init__()
        self.index, self.room = pad_prefixes(begins, lengths), room

    def copy(self, side: Tensor) -> Tensor:  # [rows, kv_heads, columns + room, width]
        (rows, columns), (_, heads, width) = self.index.shape, side.shape
        cache = side.new_zeros(rows, heads, columns + self.room, width)
        cache[:, :, :columns] = side[self.index].transpose(1, 2)
        return cache

    def keep(self, rows: Tensor) -> None:  # [rows left]
        for side in (self.keys, self.values):
            for layer in range(len(side)):
                side[layer] = side[layer][rows]

    def view(self, lengths: Tensor) -> Cached:  # [rows]
        return Cached(self.keys, self.values, lengths)


class FlatCache(RowCache):
    """Rows one after another: [columns, kv_heads, width]."""

    def __init__(self, begins: Tensor, lengths: Tensor, room: int) -> None:
        super().__init__()
        taken = lengths + room
        self.starts = taken.cumsum(0) - taken  # [rows]
        self.n_columns, n_prefix = int(taken.sum()), int(lengths.sum())

        def spread(rows: Tensor) -> Tensor:  # [rows] -> [tokens of all prefixes]
            return rows.repeat_interleave(lengths, output_size=n_prefix)

        within = torch.arange(n_prefix, device=begins.device)
        within -= spread(lengths.cumsum(0) - lengths)
        self.source, self.target = spread(begins) + within, spread(self.starts) + within

    def copy(self, side: Tensor) -> Tensor:  # [columns, kv_heads, width]
        cache = side.new_empty(self.n_columns, *side.shape[1:])
        cache[self.target] = side[self.source]
        return cache

    def keep(self, rows: Tensor) -> None:  # [rows left]
        self.starts = self.starts[rows]  # the others' columns stay where they are

    def view(self, lengths: Tensor) -> Cached:  # [rows]
        return CachedFlat(self.keys, self.values, lengths, self.starts)


def pad_prefixes(begins: Tensor, lengths: Tensor) -> Tensor:
    """[rows, columns]: where each row's prefix lies in the prefill. Columns beyond a prefix repeat
    its last token: hidden from attention, and never foreign."""
    columns = torch.arange(int(lengths.max()), device=lengths.device)
    return begins[:, None] + torch.minimum(columns[None], lengths[:, None] - 1)
