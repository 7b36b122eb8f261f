"""Small operations as one kernel each on a GPU: taken step by step, the norms, gated activations,
rotary positions, dropout masks and losses cost half of a small model's pass."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

P = ParamSpec("P")
T = TypeVar("T")
GATED = ("gate_proj", "up_proj", "down_proj", "act_fn")  # what a gated feed-forward block has
ROTARY = "apply_rotary_pos_emb"  # transformers' name for it, wherever a model has it


@cache
def fused(function: Callable[P, T], device: torch.device) -> Callable[P, T]:
    """The function's steps as one compiled kernel on a GPU, for any shapes; elsewhere as it is."""
    return torch.compile(function, dynamic=True) if device.type == "cuda" else function


def fuse(model: nn.Module) -> None:
    """In place; compiled once for any number of tokens, and computes what it did."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = torch.compile(module.forward, dynamic=True)
        elif all(hasattr(module, name) for name in GATED):
            module.forward = partial(forward_gated, module)
    fuse_rotary(sys.modules[type(model).__module__])


def forward_gated(block: Any, x: Tensor) -> Tensor:
    """down(act(gate(x)) * up(x)), the middle of it as one kernel."""
    multiply = fused(multiply_gated, x.device)
    out: Tensor = block.down_proj(multiply(block.act_fn, block.gate_proj(x), block.up_proj(x)))
    return out


def multiply_gated(activation: nn.Module, gate: Tensor, up: Tensor) -> Tensor:
    product: Tensor = activation(gate) * up
    return product


def fuse_rotary(library: Any) -> None:
    """The function is its module's own; the compiled one takes its place for all its models."""
    rotate = getattr(library, ROTARY, None)
    if rotate is not None and not hasattr(rotate, "get_compiler_config"):
        setattr(library, ROTARY, torch.compile(rotate, dynamic=True))
