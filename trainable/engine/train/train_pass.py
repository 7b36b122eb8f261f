"""One training pass, forward and backward, over what every slot brings to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainable.engine.device.recording import Recording, record
from trainable.engine.layers.blocks import Blocks
from trainable.engine.layers.dropout import Dropout
from trainable.engine.layers.noise import Noise, make_noise
from trainable.engine.layers.passes import PackedTokens, make_dropout, pack_windows, target_weights
from trainable.engine.slots.bank import SlotBank
from trainable.engine.slots.data_order import Piece
from trainable.engine.slots.loss_scale import SCALE
from trainable.engine.slots.rows import SlotRange
from trainable.engine.slots.slot import Slot

MOST_RECORDINGS = 256  # megabytes each; the longest unused goes first


@dataclass(frozen=True)
class Load:
    """What a pass computes on."""

    span: SlotRange  # the bank's rows
    tokens: PackedTokens
    weights: Tensor  # [targets]
    dropout: Dropout | None
    modules: tuple[str, ...]  # those with an adapter; those of its slots at least
    scaled: Tensor | None = None  # [targets]: weights times their slots' loss scales, in fp16
    noise: Noise | None = None
    magnified: frozenset[str] = frozenset()  # of the modules, those with magnitudes

    @classmethod
    def of(
        cls, slots: Sequence[Slot], pieces: Sequence[Piece], low: int, bank: SlotBank, *, pads: bool
    ) -> Load:
        """A piece of each of these slots, which stand in the bank's rows from `low` on. `pads`:
        filled up to sizes that come again."""
        windows = [[draw.window for draw in piece.draws] for piece in pieces]
        tokens = pack_windows(windows, bank.device, pads_to_bucket=pads)
        configs = [slot.config for slot in slots]
        dropout = make_dropout(configs, pieces, tokens.layout.counts, bank.device)
        noise = make_noise(configs, pieces, tokens.layout.counts, bank.device)
        weights = target_weights(pieces, tokens)
        span = SlotRange(low, low + len(slots))
        if isinstance(tokens.layout, Blocks):  # of the whole bank: passes are of fewer kinds
            tokens = replace(tokens, layout=tokens.layout.place(low, bank.slots))
            span = SlotRange(0, bank.slots)
        scaled = None
        if bank.is_fp16:
            scales = bank.scaling[low + tokens.target_slots, SCALE]
            scaled = weights * F.pad(scales, (0, len(weights) - len(scales)))
        modules, magnified = tuple(bank.used_modules(span)), bank.magnified_modules(span)
        return cls(span, tokens, weights, dropout, modules, scaled, noise, magnified)

    def kind(self) -> Any:
        """Passes of one kind launch the same kernels on tensors of the same shapes."""
        shapes = tuple(tensor.numel() for tensor in self.tensors())
        return (
            self.span,
            shapes,
            self.tokens.packing.longest,
            self.modules,
            self.magnified,
            self.extras(),
        )

    def tensors(self) -> list[Tensor]:
        """All that differs between passes of a kind; shapes as their classes say, [tokens] and
        [slots]."""
        tokens, dropout, noise = self.tokens, self.dropout, self.noise
        own = [tokens.ids, tokens.positions, tokens.packing.borders]
        own += [tokens.before_targets, tokens.labels, self.weights]
        own += [] if self.scaled is None else [self.scaled]
        if isinstance(tokens.layout, Blocks):
            own += [tokens.layout.slots, tokens.layout.borders, tokens.layout.n_blocks]
        if dropout is not None:
            own += [dropout.token_keys, dropout.keep]
        return own if noise is None else [*own, noise.token_keys, noise.size]

    def extras(self) -> tuple[bool, bool, bool]:
        """Whether it has dropout, noise and DoRA: each readies kernels of its own."""
        return self.dropout is not None, self.noise is not None, bool(self.magnified)


class TrainPass:
    """Carries out `work`, and where it can be recorded does so for each kind of load."""

    def __init__(
        self, work: Callable[[Load], Tensor], is_recorded: bool, is_compiled: bool
    ) -> None:
        """`work` returns the losses [targets]. `is_compiled`: torch compiles parts of
        the work, perhaps anew for other shapes, which cannot be recorded."""
        self.work, self.is_recorded, self.is_compiled = work, is_recorded, is_compiled
        self.n_readied = 0  # passes that compiled or were recorded
        self.recording_s = 0.0  # what recordings have taken
        self.forget()

    def run(self, load: Load) -> Tensor:
        """The losses [targets] that `work` returns, valid until the next run."""
        if not self.is_recorded:
            return self.work(load)
        assert isinstance(load.tokens.layout, Blocks), "the tensors of others are not a load's"
        kind = load.kind()
        first_of = kind if self.is_compiled else load.extras()
        if first_of not in self.ready:  # it readies what a recording needs
            self.ready.add(first_of)
            self.n_readied += 1
            result = self.work(load)
            self.is_recorded = not load.tokens.packing.is_laid_out
            return result
        if not self._has_recording(kind, load):
            return self.work(load)
        own, recording = self.recordings[kind] = self.recordings.pop(kind)  # the latest is last
        copy_all(load.tensors(), own.tensors())
        replayed: Tensor = recording.replay()
        return replayed

    def _has_recording(self, kind: Any, load: Load) -> bool:
        """Made now if need be. Where it cannot be, or attention is laid out by lengths, nothing is
        recorded from now on."""
        if kind in self.recordings:
            return True
        while len(self.recordings) >= MOST_RECORDINGS:
            del self.recordings[next(iter(self.recordings))]
        self.n_readied += 1
        started_s = time.perf_counter()
        recording = record(lambda: self.work(load), self.memory)
        self.recording_s += time.perf_counter() - started_s
        if recording is None or load.tokens.packing.is_laid_out:
            self.forget()
            self.is_recorded = False
            return False
        self.recordings[kind] = load, recording
        return True

    def forget(self) -> None:
        """When tensors that do not belong to a load have moved, or memory is short."""
        self.ready: set[Any] = set()
        self.recordings: dict[Any, tuple[Load, Recording]] = {}
        self.memory = torch.cuda.graph_pool_handle() if self.is_recorded else None


def copy_all(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
    """In place; each source and its target have one shape [...]."""
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)
