"""Random numbers by counter: a draw depends on what it is for, never on what was drawn before.

Dropout masks, initial weights and sampled tokens are functions of (seed, what, where), so they
are the same whether a trial runs alone, in a pack, parked, resumed or on another device.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor


def mix(x: Tensor) -> Tensor:
    """A bijection of 32 bits, [...] -> [...], whose every output bit depends on every input bit:
    the `lowbias32` constants of C. Wellons' hash prospector. int32, whose products wrap around: a
    GPU takes several times as long over 64 bits."""
    x = (x ^ shift(x, 16)) * 0x7FEB352D
    x = (x ^ shift(x, 15)) * (0x846CA68B - 2**32)
    return x ^ shift(x, 16)


def shift(x: Tensor, bits: int) -> Tensor:
    """int32 [...] moved to the right, zeros coming in."""
    return (x >> bits) & ((1 << (32 - bits)) - 1)


def combine(*parts: int | str) -> int:
    """One 32-bit key from several parts; another order or another part gives another key."""
    return zlib.crc32("\x1f".join(map(str, parts)).encode())


def uniform(key: Tensor) -> Tensor:
    """float32 [...] in [0, 1), of the key's shape; of an integer key the lower 32 bits count."""
    return shift(mix(key.to(torch.int32)), 8).to(torch.float32) * 2.0**-24


def uniform_at(keys: Tensor | int, numbers: Tensor) -> Tensor:
    """float32 [...] in [0, 1), of the shape that both make: the numbers (int32) under the keys."""
    return uniform(mix(numbers).long() + keys)


def uniform_like(keys: Tensor, shape: tuple[int, ...]) -> Tensor:
    """float32 [keys, *shape] in [0, 1): the numbers 0, 1, 2, ... under each of the keys [keys]."""
    numbers = int(torch.Size(shape).numel())
    count = torch.arange(numbers, dtype=torch.int32, device=keys.device)
    return uniform_at(keys[:, None], count).reshape(-1, *shape)
