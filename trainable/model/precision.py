"""Which type a base model's passes compute in."""

from __future__ import annotations

import torch

BF16_CAPABILITY = (8, 0)  # a T4 has 7.5, a V100 7.0
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def pick_compute_dtype(quantisation: str, compute: str, device: torch.device) -> torch.dtype:
    """As `compute` says; with auto, weights that are not quantised compute in their own bits,
    quantised ones in 32 on the CPU and in 16 on a GPU."""
    if quantisation == "fp32":
        return torch.float32
    if compute != "auto":
        return DTYPES[compute]
    if device.type == "cuda":
        return torch.bfloat16 if has_bf16(device) else torch.float16
    return torch.bfloat16 if quantisation == "bf16" else torch.float32


def has_bf16(device: torch.device) -> bool:
    """Whether a GPU multiplies in bf16. `torch.cuda.is_bf16_supported` would say yes to one that
    only emulates it."""
    return torch.cuda.get_device_capability(device) >= BF16_CAPABILITY


def name_dtype(dtype: torch.dtype) -> str:
    """As `compute` spells it."""
    return next(name for name, known in DTYPES.items() if known == dtype)
