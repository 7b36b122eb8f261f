"""The memory of a GPU that is this process's to take: all, or as much as it was limited to."""

from __future__ import annotations

import torch

from trainable.system.environment import read_gpu_limit

GIB = 2**30


def limit_memory(device: torch.device, gib: float | None = None) -> None:
    """What torch may take of a GPU from now on, as on a smaller one: so many GiB, or what the
    environment says; by neither, all. CUDA's own context comes on top. Raises ConfigError."""
    if device.type != "cuda":
        return
    gib = gib or read_gpu_limit()
    if gib is not None:
        _, total = torch.cuda.mem_get_info(device)
        torch.cuda.set_per_process_memory_fraction(min(1.0, gib * GIB / total), device.index)


def read_free(device: torch.device) -> tuple[int, int]:
    """(free, total) bytes of a GPU under this process's limit; what torch keeps for reuse is not
    free."""
    free, total = torch.cuda.mem_get_info(device)
    allowed = int(torch.cuda.get_per_process_memory_fraction(device.index) * total)
    left = allowed - torch.cuda.memory_reserved(device)
    return max(0, min(free, left)), min(total, allowed)
