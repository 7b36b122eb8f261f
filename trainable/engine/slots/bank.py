"""The slot bank: LoRA weights, their running average, gradients and AdamW moments, one row a slot.

Row s of `params` holds every module's A [in, rank] and B [rank, out] of slot s, one after the
other, at the bank's rank. A smaller rank, or a module that a trial does not adapt, is zero there
and stays exactly zero: with A and B both zero neither gets a gradient, and AdamW leaves zeros
alone. So one row is one trial: to clear, swap, save or step it is to do so to a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from trainable.engine.device.counter import combine, uniform_like
from trainable.engine.device.transfer import to_device
from trainable.engine.slots.loss_scale import begin

MOST_DRAWS = 2**23  # random numbers at a time
ROW_KINDS = 5  # weights, their average, gradients, both moments
CUDA_RANKS = 8  # a bank's rank is a multiple: rows of other lengths are read far slower


@dataclass(frozen=True)
class ModuleShape:
    in_features: int
    out_features: int

    def count(self, rank: int) -> int:
        """Numbers of an adapter of that rank: A's and B's."""
        return rank * (self.in_features + self.out_features)


@dataclass(frozen=True)
class AdapterShape:
    """The modules that one adapter changes, at which rank and scale."""

    modules: tuple[str, ...]  # full paths
    rank: int
    scale: float  # alpha/rank, or alpha/sqrt(rank)
    as_parameters: tuple[str, ...] = ()  # of the modules: those that peft finds by their weight


@dataclass(frozen=True)
class SlotRange:
    """The bank's rows [low, high): those that take part in a pass."""

    low: int
    high: int

    def __len__(self) -> int:
        return self.high - self.low


@dataclass(frozen=True)
class RowLayout:
    """Where a row holds which module's A and B."""

    shapes: Mapping[str, ModuleShape]  # module path -> its linear layer's shape
    rank: int

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Where each module's numbers begin."""
        sizes = [shape.count(self.rank) for shape in self.shapes.values()]
        return dict(zip(self.shapes, accumulate(sizes, initial=0), strict=False))

    @cached_property
    def width(self) -> int:
        """Numbers a row."""
        return sum(shape.count(self.rank) for shape in self.shapes.values())

    def count(self, adapter: AdapterShape) -> int:
        """Numbers of an adapter, without the padding of its rank."""
        return sum(self.shapes[name].count(adapter.rank) for name in adapter.modules)

    def pair(self, rows: Tensor, name: str, slot: int) -> tuple[Tensor, Tensor]:
        """Views of one slot's A [in, rank] and B [rank, out] of a module, in `rows`."""
        a, b = self.stack(rows, name, SlotRange(slot, slot + 1))
        return a[0], b[0]

    def stack(self, rows: Tensor, name: str, span: SlotRange) -> tuple[Tensor, Tensor]:
        """Views of A [slots, in, rank] and B [slots, rank, out] of a module for a slot range."""
        shape, start = self.shapes[name], self.offsets[name]
        middle = start + self.rank * shape.in_features
        stop = middle + self.rank * shape.out_features
        selected = rows[span.low : span.high]
        a = selected[:, start:middle].unflatten(1, (shape.in_features, self.rank))
        b = selected[:, middle:stop].unflatten(1, (self.rank, shape.out_features))
        return a, b


class SlotBank:
    """Rows of adapters for `shapes` (module path -> its linear layer's shape)."""

    def __init__(
        self,
        shapes: Mapping[str, ModuleShape],
        slots: int,
        max_rank: int,
        device: torch.device,
        *,
        is_fp16: bool = False,
    ) -> None:
        """`is_fp16`: passes compute in it, and losses are scaled."""
        self.slots = slots
        self.is_fp16 = is_fp16
        self.device = device
        self.layout = RowLayout(dict(shapes), round_rank(max_rank, device))
        self.params, self.average, self.grads, self.exp_avg, self.exp_avg_sq = (
            torch.zeros(slots, self.layout.width, device=device) for _ in range(ROW_KINDS)
        )
        self.scales = torch.zeros(slots, device=device)
        self.scaling = torch.zeros(slots, 3, device=device)  # of losses: see loss_scale
        self.modules: list[frozenset[str]] = [frozenset()] * slots

    def grow(self, max_rank: int) -> None:
        """Makes room for a higher rank. What the rows hold stays; views of them are of the past.
        All or nothing, where the memory is short."""
        layout = RowLayout(self.layout.shapes, round_rank(max_rank, self.device))
        wide = [self._widen(rows, layout) for rows in self._wide_rows]
        self.params, self.average, self.grads, self.exp_avg, self.exp_avg_sq = wide
        self.layout = layout

    def _widen(self, rows: Tensor, layout: RowLayout) -> Tensor:
        everyone, rank = SlotRange(0, self.slots), self.layout.rank
        wide = torch.zeros(self.slots, layout.width, device=self.device)
        for name in layout.shapes:
            a, b = self.layout.stack(rows, name, everyone)
            a_wide, b_wide = layout.stack(wide, name, everyone)
            a_wide[:, :, :rank], b_wide[:, :rank] = a, b
        return wide

    @property
    def _wide_rows(self) -> tuple[Tensor, ...]:
        """[slots, width] each."""
        return self.params, self.average, self.grads, self.exp_avg, self.exp_avg_sq

    @property
    def rows(self) -> tuple[Tensor, ...]:
        """The tensors that hold one row a slot: [slots, ...] each."""
        return *self._wide_rows, self.scales, self.scaling

    def clear(self, slot: int) -> None:
        for tensor in self.rows:
            tensor[slot] = 0
        self.modules[slot] = frozenset()

    def swap(self, one: int, other: int) -> None:
        """Exchanges two slots' rows, so that those of a pass can lie side by side."""
        if one == other:
            return
        for tensor in self.rows:
            kept = tensor[one].clone()
            tensor[one] = tensor[other]
            tensor[other] = kept
        self.modules[one], self.modules[other] = self.modules[other], self.modules[one]

    def initialise(self, slot: int, shape: AdapterShape, seed: int) -> None:
        """A fresh adapter as peft makes it: A uniform in +-1/sqrt(in), B zero. The numbers depend
        on the seed and the module's name alone."""
        self.clear(slot)
        self.modules[slot] = frozenset(shape.modules)
        self.scales[slot] = shape.scale
        begin(self.scaling[slot], is_fp16=self.is_fp16)
        alike: dict[int, list[str]] = {}  # modules that are drawn at once: they are hundreds
        for name in shape.modules:
            alike.setdefault(self.layout.shapes[name].in_features, []).append(name)
        for width, names in alike.items():
            together = max(1, MOST_DRAWS // (width * shape.rank))
            for first in range(0, len(names), together):
                self._draw(slot, names[first : first + together], (width, shape.rank), seed)
        self.average[slot] = self.params[slot]

    def _draw(self, slot: int, names: list[str], size: tuple[int, int], seed: int) -> None:
        """A of modules of that size [in, rank]."""
        keys = np.array([combine(seed, name) for name in names])
        draws = uniform_like(to_device(keys, self.device), size)
        for name, a in zip(names, (2 * draws - 1) * size[0] ** -0.5, strict=True):
            self.layout.pair(self.params, name, slot)[0][:, : size[1]] = a

    def used_modules(self, span: SlotRange) -> Iterator[str]:
        """The modules that any slot of the range adapts."""
        used = frozenset().union(*self.modules[span.low : span.high])
        return (name for name in self.layout.shapes if name in used)


def round_rank(rank: int, device: torch.device) -> int:
    step = CUDA_RANKS if device.type == "cuda" else 1
    return -(-rank // step) * step


def count_slot_bytes(shapes: Iterable[ModuleShape], max_rank: int) -> int:
    """Bytes of one slot's rows, in float32."""
    return 4 * ROW_KINDS * sum(shape.count(max_rank) for shape in shapes)
