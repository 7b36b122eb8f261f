"""One pass of the base model over what every slot of a pack brings, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trainable.corpus.encode import Window
from trainable.engine.device.transfer import to_device
from trainable.engine.kernels import BLOCK_TOKENS
from trainable.engine.layers.attention import Packing
from trainable.engine.layers.blocks import Blocks
from trainable.engine.layers.dropout import Dropout
from trainable.engine.layers.layout import Layout
from trainable.engine.slots.data_order import Piece
from trainable.model.counter import combine, mix
from trainable.trial import TrialConfig

FINENESS = 8  # sizes that passes are filled up to: so many from a power of two to the next
FEWEST = 512  # tokens of a pass that is filled up
TARGET_PARTS = 8  # its targets are filled up to a multiple of this part of its tokens
FEWEST_SEQUENCES = 32  # it has, and else a power of two


@dataclass(frozen=True)
class PackedTokens:
    """Windows slot after slot in one flat row, and where the targets are."""

    ids: Tensor  # int64 [1, tokens]
    positions: Tensor  # int64 [1, tokens]
    packing: Packing
    layout: Layout | Blocks
    before_targets: Tensor  # int64 [targets]: the token that each target is predicted from
    labels: Tensor  # int64 [targets]
    target_slots: Tensor  # int64 [targets that count]: each one's slot within the pass


def pack_windows(
    slots: Sequence[Sequence[Window]], device: torch.device, *, pads_to_bucket: bool = False
) -> PackedTokens:
    """The windows of each slot, in order. Where it is to be filled up, sizes repeat from pass to
    pass: every slot has whole blocks of tokens, all together one of few numbers of them, and there
    are some empty windows and targets that count nothing."""
    n_targets = [sum(len(window.targets) for window in group) for group in slots]
    if pads_to_bucket:
        slots = fill_up(slots)
    windows = [window for group in slots for window in group]
    lengths = [len(window.ids) for window in windows]
    counts = tuple(sum(len(window.ids) for window in group) for group in slots)
    starts = np.cumsum([0, *lengths])
    ids = np.concatenate([window.ids for window in windows]).astype(np.int64)
    targets = np.concatenate(
        [window.targets + start for window, start in zip(windows, starts[:-1], strict=True)]
    )
    before, labels = targets - 1, ids[targets]
    if pads_to_bucket:
        lengths += [0] * (round_up_sequences(len(lengths)) - len(lengths))
        idle = np.arange(
            -len(labels) % max(32, len(ids) // TARGET_PARTS)
        )  # each at a token of its own
        before, labels = np.append(before, idle % len(ids)), np.pad(labels, (0, len(idle)))
    packing = Packing(lengths, device)
    return PackedTokens(
        ids=to_device(ids, device)[None],
        positions=packing.positions(),
        packing=packing,
        layout=Blocks.of(counts, device) if pads_to_bucket else Layout.of(counts, device),
        before_targets=to_device(before, device),
        labels=to_device(labels, device),
        target_slots=to_device(np.repeat(np.arange(len(slots)), n_targets), device),
    )


def fill_up(slots: Sequence[Sequence[Window]]) -> Sequence[Sequence[Window]]:
    """Each slot's windows and what makes it whole blocks; behind the last one's, what makes it all
    a size that comes again."""
    longest = max(len(window.ids) for group in slots for window in group)
    counts = [sum(len(window.ids) for window in group) for group in slots]
    missing = [-count % BLOCK_TOKENS for count in counts]
    total = sum(counts) + sum(missing)
    missing[-1] += round_up(total) - total
    return [
        [*group, *make_filler(tokens, longest)]
        for group, tokens in zip(slots, missing, strict=True)
    ]


def round_up(tokens: int) -> int:
    """To one of few sizes.

    >>> [round_up(n) for n in (100, 1537, 4096, 4097, 16385)]
    [512, 2048, 4096, 4608, 18432]
    """
    step = max(FEWEST, 2 ** (max(tokens - 1, 1).bit_length() - 1) // FINENESS)
    return -(-tokens // step) * step


def round_up_sequences(n: int) -> int:
    """To one of few numbers; attention leaves an empty one at once.

    >>> [round_up_sequences(n) for n in (3, 33, 64)]
    [32, 64, 64]
    """
    return max(FEWEST_SEQUENCES, 1 << (n - 1).bit_length())


def make_filler(tokens: int, longest: int) -> list[Window]:
    """Windows of token 0 without targets, as many as it takes."""
    lengths = [longest] * (tokens // longest) + ([tokens % longest] if tokens % longest else [])
    return [
        Window("", np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.bool_), (), ())
        for n in lengths
    ]


def target_weights(pieces: Sequence[Piece], tokens: PackedTokens) -> Tensor:
    """[targets]: one over the targets of the whole step of each target's slot, so that a slot's
    pieces add up to the mean over its batch, whatever its neighbours bring."""
    shares = np.array([1.0 / piece.batch_targets for piece in pieces], dtype=np.float32)
    weights = to_device(shares, tokens.labels.device)[tokens.target_slots]
    return F.pad(weights, (0, len(tokens.labels) - len(weights)))


def make_dropout(
    configs: Sequence[TrialConfig],
    pieces: Sequence[Piece],
    counts: Sequence[int],
    device: torch.device,
) -> Dropout | None:
    """The masks' keys of a pass whose slots have `counts` tokens, filling included; None where no
    slot drops anything."""
    rates = [config.lora_dropout or 0.0 for config in configs]
    if not any(rates):
        return None
    keys = np.zeros((sum(counts), 1), dtype=np.int64)
    keep = np.repeat(1.0 - np.array(rates, dtype=np.float32), counts)[:, None]
    starts = np.cumsum(counts) - counts
    for config, piece, start in zip(configs, pieces, starts, strict=True):
        for draw in piece.draws:
            stop = start + len(draw.window.ids)
            places = np.arange(stop - start) * 0x85EBCA6B
            keys[start:stop, 0] = combine(config.seed, draw.place) + places
            start = stop
    token_keys = mix(to_device(keys.astype(np.int32), device))  # the lower half
    return Dropout(token_keys=token_keys, keep=to_device(keep, device))
