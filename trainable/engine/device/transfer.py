"""Work and arrays for a device that is behind the host."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Of the array's shape [...]. Does not wait for the device: the host prepares the next pass
    meanwhile."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor


def zeros_to_send(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """[*shape] on the host, to be filled in and copied to the device without waiting for it."""
    return torch.zeros(shape, pin_memory=device.type == "cuda")


def fetch(tensors: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
    """Copies on the host, each of its tensor's shape [...], of what they hold when the device gets
    there. Whoever calls what is returned waits for that; the thread that feeds the device does
    not."""
    if tensors[0].device.type != "cuda":
        copies = [tensor.clone() for tensor in tensors]
        return lambda: copies
    copies = [torch.empty_like(tensor, device="cpu", pin_memory=True) for tensor in tensors]
    for copy, tensor in zip(copies, tensors, strict=True):
        copy.copy_(tensor, non_blocking=True)
    there = torch.cuda.Event()
    there.record()

    def wait() -> list[Tensor]:  # each of its tensor's shape [...]
        there.synchronize()
        return copies

    return wait


class Pace:
    """Keeps the host at most two passes ahead, so that times taken on it are the device's."""

    def __init__(self, device: torch.device) -> None:
        self.is_needed = device.type == "cuda"
        self.last: torch.cuda.Event | None = None

    def keep(self) -> None:
        """To be called behind each pass."""
        if not self.is_needed:
            return
        if self.last is not None:
            self.last.synchronize()
        self.last = torch.cuda.Event()
        self.last.record()
