"""The slot bank: LoRA weights, their running average, gradients and AdamW moments, one row a slot.

Row s of `params` holds every module's A [in, rank] and B [rank, out] of slot s, one after the
other, at the bank's rank. A smaller rank, or a module that a trial does not adapt, is zero there
and stays exactly zero: with A and B both zero neither gets a gradient, and AdamW leaves zeros
alone. So one row is one trial: to clear, swap, save or step it is to do so to a row.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from trainable.engine.device.transfer import to_device
from trainable.engine.slots.loss_scale import begin
from trainable.engine.slots.rows import AdapterShape, ModuleShape, RowLayout, SlotRange
from trainable.model.counter import combine, uniform_like

MOST_DRAWS = 2**23  # random numbers at a time
ROWS = ("params", "average", "grads", "exp_avg", "exp_avg_sq")  # as wide as an adapter
CUDA_RANKS = 8  # a bank's rank is a multiple: rows of other lengths are read far slower


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
            torch.zeros(slots, self.layout.width, device=device) for _ in ROWS
        )
        self.scales = torch.zeros(slots, len(shapes), device=device)
        self.has_magnitudes = torch.zeros(slots, len(shapes), dtype=torch.bool, device=device)
        self.scaling = torch.zeros(slots, 3, device=device)  # of losses: see loss_scale
        self.modules: list[frozenset[str]] = [frozenset()] * slots
        self.magnified: list[frozenset[str]] = [frozenset()] * slots  # modules with DoRA

    def has_room(self, shape: AdapterShape) -> bool:
        is_high_enough = shape.stored_rank <= self.layout.rank
        return is_high_enough and (self.layout.has_magnitudes or not shape.is_dora)

    def grow(self, shape: AdapterShape) -> None:
        """Makes room for a higher rank, or for magnitudes. What the rows hold stays; views of them
        are of the past. All or nothing, where the memory is short."""
        rank = round_rank(max(shape.stored_rank, self.layout.rank), self.device)
        has_magnitudes = self.layout.has_magnitudes or shape.is_dora
        layout = RowLayout(self.layout.shapes, rank, has_magnitudes)
        wide = [self._widen(rows, layout) for rows in self._wide_rows]
        self.params, self.average, self.grads, self.exp_avg, self.exp_avg_sq = wide
        self.layout = layout
        for name in ("is_b", "rank_numbers"):
            self.__dict__.pop(name, None)

    def shrink(self, slots: int) -> None:
        """Keeps that many of the rows, the first ones; views of them are of the past."""
        self.slots = slots
        for name in (*ROWS, "scales", "has_magnitudes", "scaling"):
            setattr(self, name, getattr(self, name)[:slots].clone())  # one at a time: memory
        self.modules, self.magnified = self.modules[:slots], self.magnified[:slots]

    def _widen(self, rows: Tensor, layout: RowLayout) -> Tensor:
        """Rows [slots, width] laid out for a higher rank, zeros added: [slots, layout.width]."""
        everyone, rank = SlotRange(0, self.slots), self.layout.rank
        wide = torch.zeros(self.slots, layout.width, device=self.device)
        for name in layout.shapes:
            a, b = self.layout.stack(rows, name, everyone)
            a_wide, b_wide = layout.stack(wide, name, everyone)
            a_wide[:, :, :rank], b_wide[:, :rank] = a, b
            if self.layout.has_magnitudes:
                layout.magnitudes(wide, name, everyone)[:] = self.layout.magnitudes(
                    rows, name, everyone
                )
        return wide

    @property
    def _wide_rows(self) -> tuple[Tensor, ...]:
        """[slots, width] each."""
        return self.params, self.average, self.grads, self.exp_avg, self.exp_avg_sq

    @property
    def rows(self) -> tuple[Tensor, ...]:
        """The tensors that hold one row a slot: [slots, ...] each."""
        return *self._wide_rows, self.scales, self.has_magnitudes, self.scaling

    def clear(self, slot: int) -> None:
        for tensor in self.rows:
            tensor[slot] = 0
        self.modules[slot] = self.magnified[slot] = frozenset()

    def swap(self, one: int, other: int) -> None:
        """Exchanges two slots' rows, so that those of a pass can lie side by side."""
        if one == other:
            return
        for tensor in self.rows:
            kept = tensor[one].clone()
            tensor[one] = tensor[other]
            tensor[other] = kept
        for names in (self.modules, self.magnified):
            names[one], names[other] = names[other], names[one]

    def initialise(self, slot: int, shape: AdapterShape, seed: int) -> None:
        """A fresh adapter as peft makes it: A uniform in +-1/sqrt(in), B zero. The numbers depend
        on the seed and the module's name alone."""
        self.clear(slot)
        self.modules[slot] = frozenset(shape.modules)
        begin(self.scaling[slot], is_fp16=self.is_fp16)
        self.magnified[slot] = frozenset(shape.modules if shape.is_dora else ())
        used = [name in self.magnified[slot] for name in self.layout.shapes]
        self.has_magnitudes[slot] = to_device(np.array(used), self.device)
        scales = [shape.scales.get(name, 0.0) for name in self.layout.shapes]
        self.scales[slot] = to_device(np.array(scales, dtype=np.float32), self.device)
        alike: dict[tuple[int, int], list[str]] = {}  # modules drawn at once: they are hundreds
        for name, rank in shape.ranks.items():
            alike.setdefault((self.layout.shapes[name].in_features, rank), []).append(name)
        for size, names in alike.items():
            together = max(1, MOST_DRAWS // (size[0] * size[1]))
            for first in range(0, len(names), together):
                self._draw(slot, names[first : first + together], size, seed)
        self.average[slot] = self.params[slot]

    def begin_with(self, slot: int, shape: AdapterShape, name: str, a: Tensor, b: Tensor) -> None:
        """A module's A [in, rank] and B [rank, out] as PiSSA begins: trained, and subtracted."""
        trained, frozen = shape.parts(name)
        own_a, own_b = self.layout.pair(self.params, name, slot)
        own_a[:, trained] = own_a[:, frozen] = a
        own_b[trained], own_b[frozen] = b, -b

    def _draw(self, slot: int, names: list[str], size: tuple[int, int], seed: int) -> None:
        """A of modules of that size [in, rank]."""
        keys = np.array([combine(seed, name) for name in names])
        draws = uniform_like(to_device(keys, self.device), size)
        for name, a in zip(names, (2 * draws - 1) * size[0] ** -0.5, strict=True):
            self.layout.pair(self.params, name, slot)[0][:, : size[1]] = a

    @cached_property
    def is_b(self) -> Tensor:
        """bool [width]: whether a number of a row is a B's or a magnitude (in peft's LoRA+ these
        have B's rate, too)."""
        found = torch.ones(1, self.layout.width, dtype=torch.bool, device=self.device)
        for name in self.layout.shapes:
            self.layout.pair(found, name, 0)[0].fill_(False)
        return found[0]

    @cached_property
    def rank_numbers(self) -> Tensor:
        """int16 [width]: which of the ranks a number of a row belongs to."""
        ranks = torch.arange(self.layout.rank, dtype=torch.int16, device=self.device)
        found = torch.zeros(1, self.layout.width, dtype=torch.int16, device=self.device)
        for name in self.layout.shapes:
            a, b = self.layout.pair(found, name, 0)
            a[:], b[:] = ranks, ranks[:, None]
        return found[0]

    def scale_of(self, name: str, span: SlotRange) -> Tensor:
        """A view [slots, 1, 1] of what a module's products are multiplied by."""
        return self.scales[span.low : span.high, self._places[name], None, None]

    def find_magnified(self, name: str, span: SlotRange) -> Tensor:
        """A view, bool [slots, 1]: who has magnitudes of that module."""
        return self.has_magnitudes[span.low : span.high, self._places[name], None]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.layout.shapes)}

    def magnified_modules(self, span: SlotRange) -> frozenset[str]:
        """The modules whose magnitudes any slot of the range has."""
        return frozenset().union(*self.magnified[span.low : span.high])

    def used_modules(self, span: SlotRange) -> Iterator[str]:
        """The modules that any slot of the range adapts."""
        used = frozenset().union(*self.modules[span.low : span.high])
        return (name for name in self.layout.shapes if name in used)


def round_rank(rank: int, device: torch.device) -> int:
    """Up to a multiple of what the device's products take at once."""
    step = CUDA_RANKS if device.type == "cuda" else 1
    return -(-rank // step) * step


def count_slot_bytes(shapes: Iterable[ModuleShape], max_rank: int) -> int:
    """Bytes of one slot's rows, in float32."""
    return 4 * len(ROWS) * sum(shape.count(max_rank) for shape in shapes)
