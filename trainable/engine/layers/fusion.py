"""Small operations as one kernel each on a GPU: taken step by step, norms, gated activations,
rotary positions and losses cost half of a small model's pass."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from trainable.engine.device.compiled import fused
from trainable.engine.layers.backbone import Run, run_sample

GATED = ("gate_proj", "up_proj", "down_proj", "act_fn")  # what a gated feed-forward block has
# what a block has whose norms stand before attention and feed-forward, and nothing else
BLOCK = {"input_layernorm", "self_attn", "post_attention_layernorm", "mlp"}
ROTARY = "apply_rotary_pos_emb"  # transformers' name for it, wherever a model has it
Turned = tuple[Tensor, Tensor]  # queries and keys
REPLACED: dict[Callable[..., Turned], bool] = {}  # what took its place; whether it is ours


def fuse(model: PreTrainedModel, run_backbone: Run) -> bool:
    """In place: what our kernels compute as the model does, on a sample, they take over; the rest
    is compiled by torch, once for any number of tokens. Whether there is no such rest."""
    is_ours = [fuse_rotary(model, run_backbone)]
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            is_ours.append(fuse_norm(module))
        elif all(hasattr(module, name) for name in GATED):
            is_ours.append(fuse_gate(module))
    fuse_blocks(model, run_backbone)
    return all(is_ours)


def fuse_norm(module: Any) -> bool:
    theirs = module.forward
    found = next(
        (norm for norm in list_norms(module) if agree(theirs, norm, draw_normed(module))), None
    )
    module.forward = found or torch.compile(theirs, dynamic=True)
    return found is not None


def list_norms(module: Any) -> Iterator[partial[Tensor]]:
    """The norms that our kernel knows, [tokens, width] each: times the weight, or times one more
    than it (Gemma)."""
    from trainable.engine.kernels.norms import Norm

    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if isinstance(epsilon, float) and isinstance(getattr(module, "weight", None), Tensor):
        yield partial(norm_with, Norm, module.weight, epsilon)
        yield partial(norm_with, Norm, 1.0 + module.weight.float(), epsilon)


def norm_with(norm: Any, weight: Tensor, epsilon: float, x: Tensor) -> Tensor:
    """x [..., width] normed, times the weight [width]."""
    normed: Tensor = norm.apply(x, weight, epsilon)
    return normed


def draw_normed(module: Any) -> Tensor:
    """A sample [4, width] for the norm of a module."""
    return draw_like(module.weight, 4, *module.weight.shape)


def fuse_blocks(model: PreTrainedModel, run_backbone: Run) -> list[nn.Module]:
    """Blocks whose norms stand before their two parts (Llama's) make each norm together with the
    sum before it, where that gives the same on a sample; those that do."""
    found: list[nn.Module] = []

    def compare(block: Any, args: Any, kwargs: Any, out: Any) -> None:
        forward = partial(run_block, block)
        if agree(lambda *_: out, lambda *_: forward(*args, **kwargs), args[0]):
            block.forward = forward
            found.append(block)

    # an unlike block fails; the self-check says why a model's own pass cannot run
    with ExitStack() as hooks, suppress(Exception):
        for block in model.modules():
            if {name for name, _ in block.named_children()} == BLOCK and has_our_norms(block):
                hooks.enter_context(block.register_forward_hook(compare, with_kwargs=True))
        run_sample(model, run_backbone)
    return found


def has_our_norms(block: Any) -> bool:
    norms = block.input_layernorm, block.post_attention_layernorm
    return all(getattr(each.forward, "func", None) is norm_with for each in norms)


def run_block(block: Any, hidden_states: Tensor, *others: Any, **named: Any) -> Tensor:
    """A block's forward, [rows, tokens, width], with each norm and the sum before it as one
    kernel."""
    from trainable.engine.kernels.norms import AddNorm

    before, behind = block.input_layernorm.forward.args, block.post_attention_layernorm.forward.args
    total, normed = AddNorm.apply(hidden_states, None, *before[1:])
    attended, *_ = block.self_attn(normed, *others, **named)
    total, normed = AddNorm.apply(total, attended, *behind[1:])
    out: Tensor = total + block.mlp(normed)
    return out


def fuse_gate(block: Any) -> bool:
    """down(act(gate(x)) * up(x)), the middle of it as one kernel."""
    from trainable.engine.kernels.fused import GELU_TANH, SILU

    def theirs(gate: Tensor, up: Tensor) -> Tensor:  # [..., width]
        return multiply_gated(block.act_fn, gate, up)

    device = next(block.parameters()).device
    drawn = torch.linspace(-4, 4, 64, device=device), torch.linspace(2, -1, 64, device=device)
    known = [partial(multiply_curved, curve) for curve in (SILU, GELU_TANH)]
    found = next((ours for ours in known if agree(theirs, ours, *drawn)), None)
    multiply = found or partial(fused(multiply_gated, device), block.act_fn)

    def forward(x: Tensor) -> Tensor:  # [rows, tokens, width]
        out: Tensor = block.down_proj(multiply(block.gate_proj(x), block.up_proj(x)))
        return out

    block.forward = forward
    return found is not None


def multiply_curved(curve: tuple[float, float], gate: Tensor, up: Tensor) -> Tensor:
    """An activation known to our kernel (`curve`) of gate, times up: each [..., width]."""
    from trainable.engine.kernels.fused import Gate

    product: Tensor = Gate.apply(gate, up, *curve)
    return product


def multiply_gated(activation: nn.Module, gate: Tensor, up: Tensor) -> Tensor:
    """The activation of gate, times up: each [..., width]."""
    product: Tensor = activation(gate) * up
    return product


def fuse_rotary(model: PreTrainedModel, run_backbone: Run) -> bool:
    """The function is its module's own; another takes its place for all its models."""
    library = sys.modules[type(model).__module__]
    theirs = getattr(library, ROTARY, None)
    if theirs is None:
        return True
    if theirs in REPLACED:
        return REPLACED[theirs]
    turn = rotate_like(theirs)
    sample = watch_turning(library, model, run_backbone)
    is_ours = sample is not None and agree(theirs, turn, *sample)
    turn = turn if is_ours else torch.compile(theirs, dynamic=True)
    REPLACED[turn] = is_ours
    setattr(library, ROTARY, turn)
    return is_ours


def rotate_like(theirs: Callable[..., Turned]) -> Callable[..., Turned]:
    from trainable.engine.kernels.fused import Rotate

    def turn(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *others: Any, **named: Any) -> Turned:
        """q, k [rows, heads, tokens, width]; cos, sin [1 or rows, tokens, features]."""
        if others or named or not q.is_cuda:
            return theirs(q, k, cos, sin, *others, **named)
        return Rotate.apply(q, cos, sin), Rotate.apply(k, cos, sin)

    return turn


@torch.no_grad()
def watch_turning(library: Any, model: Any, run_backbone: Run) -> tuple[Any, ...] | None:
    """What the model itself gives that function, of five tokens; None: it never calls it."""
    theirs, seen = getattr(library, ROTARY), []

    def watch(*given: Any, **named: Any) -> Turned:
        seen.append((*given, *named.values()))
        turned: Turned = theirs(*given, **named)
        return turned

    setattr(library, ROTARY, watch)
    try:
        run_sample(model, run_backbone)
    except Exception:  # the self-check runs it again, and says why it cannot
        return None
    finally:
        setattr(library, ROTARY, theirs)
    if not seen:
        return None
    q, k, *others = seen[0]
    return draw_like(q, *q.shape), draw_like(k, *k.shape), *others


def draw_like(weight: Tensor, *shape: int) -> Tensor:
    """[*shape] of the weight's kind and device, whatever its own numbers are."""
    dtype = weight.dtype if weight.is_floating_point() else torch.float32
    drawn = torch.linspace(-2, 2, math.prod(shape)).sin().view(shape)
    return drawn.to(weight.device, dtype)


@torch.no_grad()
def agree(theirs: Callable[..., Any], ours: Callable[..., Any], *sample: Tensor) -> bool:
    """Whether both make the same of it, tensors of any shape [...], up to rounding."""
    wanted, found = theirs(*sample), ours(*sample)
    pairs = zip(wanted, found, strict=True) if isinstance(wanted, tuple) else [(wanted, found)]
    near = 1e-5 if sample[0].dtype == torch.float32 else 2e-2
    return all(torch.allclose(a, b, rtol=near, atol=near) for a, b in pairs)
