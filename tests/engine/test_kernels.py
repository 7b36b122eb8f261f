"""The GPU's kernels against the formulas, on a CPU: with Triton installed, TRITON_INTERPRET=1."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.gpt_neox import modeling_gpt_neox
from transformers.models.llama import modeling_llama
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

if os.environ.get("TRITON_INTERPRET") != "1":  # to be set before anything imports Triton
    pytest.skip("run it with TRITON_INTERPRET=1 and Triton installed", allow_module_level=True)

from trainable.engine.kernels.block_products import add_gradients, multiply_blocks
from trainable.engine.kernels.dropout_mask import mask_on_gpu
from trainable.engine.kernels.fused import Rotate, derive_loss_here
from trainable.engine.kernels.magnified import add_magnified_blocks, magnify_gradient_blocks
from trainable.engine.kernels.row_attention import attend_rows
from trainable.engine.layers.backbone import open_backbone
from trainable.engine.layers.blocks import Blocks
from trainable.engine.layers.dora import add_magnified, magnify_gradient
from trainable.engine.layers.dropout import apply_mask, make_feature_keys
from trainable.engine.layers.fusion import fuse_gate, fuse_norm, fuse_rotary, watch_turning
from trainable.engine.layers.scores import ScoreRules
from trainable.engine.train.loss import derive_loss
from trainable.model.counter import mix
from tune.bench.tiny_models import write_model

LLAMA, NEOX = modeling_llama.apply_rotary_pos_emb, modeling_gpt_neox.apply_rotary_pos_emb


def assert_alike(ours: Callable[..., Any], theirs: Callable[..., Any], *inputs: Tensor) -> None:
    """The same results, and the same gradients of every input."""
    found, wanted = ours(*inputs), theirs(*inputs)
    torch.testing.assert_close(found, wanted)
    slope = torch.randn_like(wanted)
    grads = [torch.autograd.grad((out * slope).sum(), inputs) for out in (found, wanted)]
    torch.testing.assert_close(*grads)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, requires_grad=True)


@pytest.mark.parametrize("width", [64, 96])
@pytest.mark.parametrize("kind", [LlamaRMSNorm, Gemma3RMSNorm])
def test_a_norm(kind: type[torch.nn.Module], width: int) -> None:
    norm = kind(width, eps=1e-5)
    torch.nn.init.normal_(norm.weight)
    theirs = norm.forward
    assert fuse_norm(norm)
    assert_alike(norm.forward, theirs, draw(2, 7, width))


@pytest.mark.parametrize("activation", ["silu", "gelu_pytorch_tanh"])
def test_a_gate(activation: str) -> None:
    block = LlamaMLP(LlamaConfig(hidden_size=64, intermediate_size=40, hidden_act=activation))
    theirs = block.forward
    assert fuse_gate(block)
    assert_alike(block.forward, theirs, draw(2, 70, 64))


@pytest.mark.parametrize(
    "turn, width, features, batch, tokens",
    [(LLAMA, 16, 16, 1, 9), (LLAMA, 24, 24, 5, 1), (NEOX, 32, 8, 1, 6)],
    ids=["whole", "a-token-a-row", "in-part"],
)
def test_positions(
    turn: Callable[..., Any], width: int, features: int, batch: int, tokens: int
) -> None:
    angles = torch.randn(batch, tokens, features)
    cos, sin = angles.cos(), angles.sin()
    for heads in (3, 1):
        assert_alike(
            lambda x: Rotate.apply(x.transpose(1, 2), cos, sin),
            lambda x: turn(x.transpose(1, 2), x.transpose(1, 2), cos, sin)[0],
            draw(batch, tokens, heads, width),
        )


@pytest.mark.parametrize("name, features", [("gemma3", 16), ("phi", 8)])
def test_positions_are_tried_on_what_the_model_gives(
    name: str, features: int, tmp_path: Path
) -> None:
    """Gemma's frequencies are a layer's own, phi turns a part of a head."""
    model = AutoModelForCausalLM.from_pretrained(write_model(name, tmp_path))
    library = sys.modules[type(model).__module__]
    sample = watch_turning(library, model, open_backbone(model))
    assert sample is not None and [side.shape[-1] for side in sample] == 4 * [features]
    assert fuse_rotary(model, open_backbone(model))


@pytest.mark.parametrize("vocabulary", [50, 4096, 9001])
def test_the_loss_and_its_gradient_in_the_logits_place(vocabulary: int) -> None:
    logits, labels = 3 * torch.randn(7, vocabulary), torch.randint(vocabulary, (7,))
    weights = torch.rand(7)
    weights[2] = 0
    wanted = derive_loss(logits, labels, weights)
    found = derive_loss_here(logits, labels, weights)
    torch.testing.assert_close(found, wanted)
    assert found[1] is logits


@pytest.mark.parametrize("tokens, width", [(37, 200), (64, 576), (5, 24)])
def test_dropout_s_masks_are_the_cpu_s(tokens: int, width: int) -> None:
    x = torch.randn(tokens, width)
    x[2, 3] = float("nan")
    keys = mix(torch.arange(tokens, dtype=torch.int32)[:, None] + 12345)
    keep = torch.tensor([[1.0], [0.9], [0.5]])[torch.arange(tokens) % 3]
    features = make_feature_keys("layer", width, torch.device("cpu"))
    wanted = apply_mask(x, keys, features, keep)
    torch.testing.assert_close(mask_on_gpu(x, keys, features, keep), wanted, equal_nan=True)


@pytest.mark.parametrize("heads, kv_heads, width", [(9, 3, 64), (8, 8, 80), (40, 2, 16)])
def test_a_row_s_attention_sees_its_own_columns_alone(
    heads: int, kv_heads: int, width: int
) -> None:
    lengths, room = torch.tensor([0, 129, 70, 64]), torch.tensor([3, 130, 80, 65])
    starts = room.cumsum(0) - room
    query = torch.randn(4, heads, width)
    keys, values = (torch.full((int(room.sum()), kv_heads, width), torch.nan) for _ in range(2))
    wanted = []
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        own = slice(int(start), int(start + length) + 1)
        keys[own], values[own] = torch.randn_like(keys[own]), torch.randn_like(values[own])
        k, v = (side[own].repeat_interleave(heads // kv_heads, 1) for side in (keys, values))
        weights = (torch.einsum("hw,chw->hc", query[row], k) * width**-0.5).softmax(-1)
        wanted.append(torch.einsum("hc,chw->hw", weights, v))
    found = attend_rows(query, keys, values, starts, lengths, scale=width**-0.5)
    torch.testing.assert_close(found, torch.stack(wanted))


@pytest.mark.parametrize("is_capped", [False, True])
def test_a_row_s_attention_obeys_window_cap_and_sinks(is_capped: bool) -> None:
    rules = ScoreRules(
        scale=0.3, window=70, cap=2.0 if is_capped else None, sinks=torch.linspace(-2, 2, 6)
    )
    lengths, room, width, value_width = torch.tensor([5, 129, 70]), 140, 24, 16
    query, keys = torch.randn(3, 6, width), torch.randn(3, 2, room, width)
    values = torch.randn(3, 2, room, value_width)
    columns = torch.arange(room)
    first = rules.first_seen(lengths)
    assert first is not None
    is_seen = (columns <= lengths[:, None]) & (columns >= first[:, None])
    wanted = rules.attend(query[:, :, None], keys, values, is_seen[:, None, None, None])[:, 0]
    flat = (side.transpose(1, 2).flatten(0, 1).contiguous() for side in (keys, values))
    found = attend_rows(
        query, *flat, torch.arange(3) * room, lengths,
        scale=rules.scale, first=first, cap=rules.cap, sinks=rules.sinks,
    )  # fmt: skip
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("counts", [(256, 128, 384), (0, 128, 256)])
@pytest.mark.parametrize("m, n", [(72, 8), (24, 200), (160, 64), (1, 40)])
def test_blocks_of_tokens_meet_their_slot_s_matrix(counts: tuple[int, ...], m: int, n: int) -> None:
    near = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-4)  # sums of hundreds
    blocks, (x, y) = Blocks.of(counts, torch.device("cpu")), draw_rows(sum(counts), m, n)
    bank = torch.randn(3, 2 * m * n)  # of which a module's matrices are views
    w = bank[:, 5 : 5 + m * n].unflatten(1, (m, n))
    scale = torch.tensor([[9.0, 0.5], [9.0, 2.0], [9.0, 1.0]])[:, 1, None, None]  # of many modules
    near(multiply_blocks(x, w, blocks.slots, scale), blocks.multiply(x, w, scale))
    near(multiply_blocks(y, w.mT, blocks.slots, None), blocks.multiply(y, w.mT))
    wanted, there = blocks.add_product(y.clone(), x, w), y.clone()
    assert multiply_blocks(x, w, blocks.slots, None, add_to=there) is there
    near(there, wanted)
    wanted = w.clone()
    blocks.add_gradients(wanted, x, y)
    add_gradients([w], x[None], y[None], blocks.borders)
    near(w, wanted)


@pytest.mark.parametrize("counts", [(640, 0, 1152), (0, 128, 1664), (512, 1024, 128)])
def test_a_slot_s_gradient_is_the_same_in_any_company(counts: tuple[int, ...]) -> None:
    """Bit for bit, though it is summed in chunks; up to rounding the formula's."""
    blocks, (x, y) = Blocks.of(counts, torch.device("cpu")), draw_rows(sum(counts), 24, 40)
    total, wanted = torch.ones(3, 24, 40), torch.ones(3, 24, 40)
    blocks.add_gradients(wanted, x, y)
    add_gradients([total], x[None], y[None], blocks.borders)
    torch.testing.assert_close(total, wanted, rtol=1e-5, atol=1e-4)
    for slot, (begin, end) in enumerate(pairwise(blocks.borders.tolist())):
        alone, own = torch.ones(1, 24, 40), slice(begin, end)
        borders = torch.tensor([0, end - begin], dtype=torch.int32)
        add_gradients([alone], x[None, own], y[None, own], borders)
        assert torch.equal(alone[0], total[slot])


@pytest.mark.parametrize("counts", [(256, 128, 384), (0, 128, 256)])
@pytest.mark.parametrize("rank, n", [(8, 40), (72, 200)])
def test_blocks_of_tokens_meet_their_slot_s_magnitudes(
    counts: tuple[int, ...], rank: int, n: int
) -> None:
    near = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-4)
    blocks = Blocks.of(counts, torch.device("cpu"))
    plain, kept, grad, low = draw_rows(sum(counts), n, n, n, rank)
    b = torch.randn(3, 5 + rank * n)[:, 5:].unflatten(1, (rank, n))
    factors = torch.rand(3, n) + 0.5
    wanted = add_magnified(blocks, plain, kept, low, b, factors)
    near(add_magnified_blocks(plain, kept, low, b, factors, blocks.slots), wanted)
    scaled, sums = magnify_gradient_blocks(grad, kept, factors, blocks.slots)
    near((scaled, blocks.sum_blocks(sums)), magnify_gradient(blocks, grad, kept, factors))


def draw_rows(tokens: int, *widths: int) -> list[Tensor]:
    return [torch.randn(tokens, width) for width in widths]
