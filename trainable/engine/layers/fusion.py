"""Small operations as one kernel each on a GPU: taken step by step, norms, gated activations,
rotary positions and losses cost half of a small model's pass."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from trainable.engine.device.compiled import fused

GATED = ("gate_proj", "up_proj", "down_proj", "act_fn")  # what a gated feed-forward block has
ROTARY = "apply_rotary_pos_emb"  # transformers' name for it, wherever a model has it
Turned = tuple[Tensor, Tensor]  # queries and keys
REPLACED: dict[Callable[..., Turned], bool] = {}  # what took its place; whether it is ours


def fuse(model: PreTrainedModel) -> bool:
    """In place: what our kernels compute as the model does, on a sample, they take over; the rest
    is compiled by torch, once for any number of tokens. Whether there is no such rest."""
    is_ours = [fuse_rotary(model)]
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            is_ours.append(fuse_norm(module))
        elif all(hasattr(module, name) for name in GATED):
            is_ours.append(fuse_gate(module))
    return all(is_ours)


def fuse_norm(module: Any) -> bool:
    from trainable.engine.kernels.fused import Norm

    epsilon = getattr(module, "variance_epsilon", None)
    theirs, weight = module.forward, module.weight

    def ours(x: Tensor) -> Tensor:
        out: Tensor = Norm.apply(x, module.weight, epsilon)
        return out

    is_ours = epsilon is not None and agree(theirs, ours, draw_like(weight, 4, *weight.shape))
    module.forward = ours if is_ours else torch.compile(theirs, dynamic=True)
    return is_ours


def fuse_gate(block: Any) -> bool:
    """down(act(gate(x)) * up(x)), the middle of it as one kernel."""
    from trainable.engine.kernels.fused import Gate

    def theirs(gate: Tensor, up: Tensor) -> Tensor:
        product: Tensor = block.act_fn(gate) * up
        return product

    sample = next(block.parameters())
    is_ours = agree(theirs, Gate.apply, *(draw_like(sample, 4, 64) for _ in range(2)))
    multiply = (
        Gate.apply if is_ours else partial(fused(multiply_gated, sample.device), block.act_fn)
    )

    def forward(x: Tensor) -> Tensor:
        out: Tensor = block.down_proj(multiply(block.gate_proj(x), block.up_proj(x)))
        return out

    block.forward = forward
    return is_ours


def multiply_gated(activation: nn.Module, gate: Tensor, up: Tensor) -> Tensor:
    product: Tensor = activation(gate) * up
    return product


def fuse_rotary(model: PreTrainedModel) -> bool:
    """The function is its module's own; another takes its place for all its models."""
    library = sys.modules[type(model).__module__]
    theirs = getattr(library, ROTARY, None)
    rotary = getattr(model.base_model, "rotary_emb", None)
    if theirs is None:
        return True
    if theirs in REPLACED:
        return REPLACED[theirs]
    turn = rotate_like(theirs)
    is_ours = rotary is not None and agree(theirs, turn, *draw_turning(model, rotary))
    turn = turn if is_ours else torch.compile(theirs, dynamic=True)
    REPLACED[turn] = is_ours
    setattr(library, ROTARY, turn)
    return is_ours


def rotate_like(theirs: Callable[..., Turned]) -> Callable[..., Turned]:
    from trainable.engine.kernels.fused import Rotate

    def turn(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *others: Any, **named: Any) -> Turned:
        if others or named or not q.is_cuda:
            return theirs(q, k, cos, sin, *others, **named)
        return Rotate.apply(q, cos, sin), Rotate.apply(k, cos, sin)

    return turn


def draw_turning(model: PreTrainedModel, rotary: nn.Module) -> tuple[Tensor, ...]:
    """Queries, keys, and what turns them: five tokens, of two heads and one."""
    sizes: Any = model.config
    weight: Any = model.get_input_embeddings().weight
    width = getattr(sizes, "head_dim", None) or sizes.hidden_size // sizes.num_attention_heads
    cos, sin = rotary(draw_like(weight, 1, 5, width), torch.arange(5, device=weight.device)[None])
    return draw_like(weight, 1, 2, 5, width), draw_like(weight, 1, 1, 5, width), cos, sin


def draw_like(weight: Tensor, *shape: int) -> Tensor:
    """Of its kind and device, whatever its own numbers are."""
    dtype = weight.dtype if weight.is_floating_point() else torch.float32
    drawn = torch.linspace(-2, 2, math.prod(shape)).sin().view(shape)
    return drawn.to(weight.device, dtype)


@torch.no_grad()
def agree(theirs: Callable[..., Any], ours: Callable[..., Any], *sample: Tensor) -> bool:
    """Whether both make the same of it, up to rounding."""
    wanted, found = theirs(*sample), ours(*sample)
    pairs = zip(wanted, found, strict=True) if isinstance(wanted, tuple) else [(wanted, found)]
    near = 1e-5 if sample[0].dtype == torch.float32 else 2e-2
    return all(torch.allclose(a, b, rtol=near, atol=near) for a, b in pairs)
