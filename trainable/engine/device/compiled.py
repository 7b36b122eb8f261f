"""A function's steps as one kernel on a GPU, compiled by torch."""

from collections.abc import Callable
from functools import cache
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")


@cache
def fused(function: Callable[P, T], device: torch.device) -> Callable[P, T]:
    """The function's steps as one compiled kernel on a GPU, for any shapes; elsewhere as it is."""
    return torch.compile(function, dynamic=True) if device.type == "cuda" else function
