"""Random weights, drawn where they will lie, and the same on every device.

torch's own draws differ from one device to another, and on a CPU those of 7 billion weights take
minutes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from trainable.model.counter import combine, uniform_at

MOST_DRAWS = 2**24  # numbers at a time


class DrawnByCounter(TorchDispatchMode):
    """Inside, the numbers of a tensor's `normal_` and `uniform_` depend on the seed and on how many
    such draws went before, up to the rounding of a device's logarithm and cosine."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed, self.n_draws = seed, 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        draw = DRAWS.get(function)
        if draw is None or args[0].is_meta or (kwargs or {}).get("generator") is not None:
            return function(*args, **(kwargs or {}))
        tensor, *bounds = args
        key = combine(self.seed, self.n_draws)
        self.n_draws += 1
        flat = torch.empty(tensor.numel(), dtype=tensor.dtype, device=tensor.device)
        for start in range(0, len(flat), MOST_DRAWS):
            part = flat[start : start + MOST_DRAWS]
            part.copy_(draw(key, start, len(part), tensor.device, *bounds))
        return tensor.copy_(flat.view_as(tensor))


def draw_uniform(
    key: int, start: int, count: int, device: torch.device, low: float = 0.0, high: float = 1.0
) -> Tensor:  # [count]
    return low + (high - low) * draw_numbers(key, start, count, device)


def draw_normal(
    key: int, start: int, count: int, device: torch.device, mean: float = 0.0, std: float = 1.0
) -> Tensor:
    """[count], by Box and Muller (Annals of Mathematical Statistics 29, 1958)."""
    radius = (-2 * torch.log1p(-draw_numbers(key, start, count, device))).sqrt_()
    angle = 2 * math.pi * draw_numbers(combine(key, "angle"), start, count, device)
    return mean + std * radius * angle.cos_()


def draw_numbers(key: int, start: int, count: int, device: torch.device) -> Tensor:
    """float32 [count] in [0, 1): the numbers start, start + 1, ... under the key."""
    counter = torch.arange(start, start + count, device=device).to(torch.int32)
    return uniform_at(key, counter)


DRAWS = {torch.ops.aten.uniform_.default: draw_uniform, torch.ops.aten.normal_.default: draw_normal}
