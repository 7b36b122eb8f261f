"""Random numbers by counter: a draw depends on what it is for, never on what was drawn before.

Dropout masks, initial weights and sampled tokens are functions of (seed, what, where), so they
are the same whether a trial runs alone, in a pack, parked, resumed or on another device.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

MASK = 0xFFFFFFFF  # the hash works on 32 bits, carried in int64 so that products do not overflow


def mix(x: Tensor) -> Tensor:
    """A bijection of 32-bit numbers whose every output bit depends on every input bit (the
    `lowbias32` constants of C. Wellons' hash prospector)."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & MASK
    return x ^ (x >> 16)


def combine(*parts: int | str) -> int:
    """One 32-bit key from several parts; another order or another part gives another key."""
    return zlib.crc32("\x1f".join(map(str, parts)).encode())


def uniform(key: Tensor) -> Tensor:
    """float32 in [0, 1) from 32-bit keys (int64), of the same shape."""
    return (mix(key) >> 8).to(torch.float32) * 2.0**-24


def uniform_like(key: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """float32 [shape] in [0, 1): the numbers 0, 1, 2, ... under one key."""
    count = torch.arange(int(torch.Size(shape).numel()), dtype=torch.int64, device=device)
    return uniform((mix(count) + key) & MASK).reshape(shape)
