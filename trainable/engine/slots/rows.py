"""What the rows of a bank are: whose numbers stand where."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

from torch import Tensor


@dataclass(frozen=True)
class ModuleShape:
    """Of a linear layer, which maps [..., in_features] to [..., out_features]."""

    in_features: int
    out_features: int

    def count(self, rank: int, *, has_magnitudes: bool = False) -> int:
        """Numbers of an adapter of that rank: A's, B's and, with DoRA, the magnitudes."""
        own = rank * (self.in_features + self.out_features)
        return own + self.out_features if has_magnitudes else own


@dataclass(frozen=True, kw_only=True)
class AdapterShape:
    """The modules that one adapter changes, at which rank and scale each."""

    ranks: Mapping[str, int] = field(default_factory=dict)  # full path of a module -> rank
    scales: Mapping[str, float] = field(default_factory=dict)  # -> alpha/rank, or alpha/sqrt(rank)
    as_parameters: tuple[str, ...] = ()  # of the modules: those that peft finds by their weight
    is_dora: bool = False  # with a magnitude for each of a module's outputs
    is_pissa: bool = False  # what it begins as is subtracted again, by frozen numbers

    @property
    def modules(self) -> tuple[str, ...]:
        return tuple(self.ranks)

    @property
    def rank(self) -> int:
        """The highest."""
        return max(self.ranks.values(), default=0)

    @property
    def stored_ranks(self) -> dict[str, int]:
        """With a PiSSA's frozen numbers: those of the adapter that is saved."""
        return {name: rank * (2 if self.is_pissa else 1) for name, rank in self.ranks.items()}

    @property
    def stored_rank(self) -> int:
        """The highest: of a row that holds it."""
        return max(self.stored_ranks.values(), default=0)

    def parts(self, module: str) -> tuple[slice, ...]:
        """Where a row has the module's numbers, of all ranks: the trained and the frozen ones."""
        rank, begin = self.ranks[module], self.rank
        trained = slice(0, rank)
        return (trained, slice(begin, begin + rank)) if self.is_pissa else (trained,)


@dataclass(frozen=True)
class SlotRange:
    """The bank's rows [low, high): those that take part in a pass."""

    low: int
    high: int

    def __len__(self) -> int:
        return self.high - self.low


@dataclass(frozen=True)
class RowLayout:
    """Where a row holds which module's A and B, and magnitudes if any trial has had some."""

    shapes: Mapping[str, ModuleShape]  # module path -> its linear layer's shape
    rank: int
    has_magnitudes: bool = False

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Where each module's numbers begin."""
        sizes = [self._count(shape) for shape in self.shapes.values()]
        return dict(zip(self.shapes, accumulate(sizes, initial=0), strict=False))

    def _count(self, shape: ModuleShape) -> int:
        return shape.count(self.rank, has_magnitudes=self.has_magnitudes)

    @cached_property
    def width(self) -> int:
        """Numbers a row."""
        return sum(map(self._count, self.shapes.values()))

    def count(self, adapter: AdapterShape) -> int:
        """Numbers of an adapter, without the padding of its ranks."""
        return sum(
            self.shapes[name].count(rank, has_magnitudes=adapter.is_dora)
            for name, rank in adapter.ranks.items()
        )

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

    def magnitudes(self, rows: Tensor, name: str, span: SlotRange) -> Tensor:
        """A view [slots, out] of a module's magnitudes for a slot range."""
        shape = self.shapes[name]
        start = self.offsets[name] + shape.count(self.rank)
        return rows[span.low : span.high, start : start + shape.out_features]
