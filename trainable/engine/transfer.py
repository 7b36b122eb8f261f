"""Work and arrays for a device that is behind the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Without waiting for the device, so that the host prepares the next pass meanwhile."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor


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
