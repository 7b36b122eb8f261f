"""NEFTune's noise on the embeddings of a training pass (arXiv 2310.05914), by counter: a function
of the seed, the dialogue's place in the data order and the token alone, whatever else is packed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainable.engine.device.transfer import to_device
from trainable.engine.layers.dropout import make_feature_keys
from trainable.engine.slots.data_order import Draw, Piece
from trainable.model.counter import combine, mix, uniform
from trainable.trial import TrialConfig

STRIDE = 0x85EBCA6B  # between the keys of a dialogue's tokens


@dataclass(frozen=True)
class Noise:
    """Uniform in +-size / sqrt(width) of a token's embedding."""

    token_keys: Tensor  # int32 [..., tokens, 1]
    size: Tensor  # float32 [..., tokens, 1]: alpha / sqrt(tokens of the dialogue)

    def add(self, x: Tensor) -> Tensor:
        """x [..., tokens, width]"""
        drawn = uniform(self.token_keys + make_feature_keys("embeddings", x.shape[-1], x.device))
        noise = self.size * x.shape[-1] ** -0.5 * (2 * drawn - 1)
        return x + noise.to(x.dtype)


def make_noise(
    configs: Sequence[TrialConfig],
    pieces: Sequence[Piece],
    counts: Sequence[int],
    device: torch.device,
) -> Noise | None:
    """Of a pass whose slots have `counts` tokens, filling included; None where no slot has any."""
    if not any(config.neftune_alpha for config in configs):
        return None
    rows = [fill(c, p.draws, n) for c, p, n in zip(configs, pieces, counts, strict=True)]
    return send((np.concatenate(parts) for parts in zip(*rows, strict=True)), device)


def make_row_noise(drawn: Sequence[tuple[TrialConfig, Draw]], device: torch.device) -> Noise | None:
    """Of trials' dialogues, a row each, shorter ones filled behind; None where none has any."""
    if not any(config.neftune_alpha for config, _ in drawn):
        return None
    longest = max(len(draw.window.ids) for _, draw in drawn)
    rows = [fill(config, [draw], longest) for config, draw in drawn]
    return send((np.stack(parts) for parts in zip(*rows, strict=True)), device)


def fill(
    config: TrialConfig, draws: Iterable[Draw], tokens: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Keys and sizes [tokens] of dialogues one behind the other, and zeros behind them."""
    keys, sizes = np.zeros(tokens, dtype=np.int64), np.zeros(tokens, dtype=np.float32)
    start = 0
    for draw in draws:
        length = len(draw.window.ids)
        own = slice(start, start + length)
        keys[own] = combine(config.seed, "noise", draw.place) + np.arange(length) * STRIDE
        sizes[own] = (config.neftune_alpha or 0.0) * length**-0.5
        start += length
    return keys, sizes


def send(arrays: Iterable[NDArray[np.generic]], device: torch.device) -> Noise:
    keys, sizes = arrays
    token_keys = mix(to_device(keys[..., None].astype(np.int32), device))  # the lower half
    return Noise(token_keys, to_device(sizes[..., None], device))
