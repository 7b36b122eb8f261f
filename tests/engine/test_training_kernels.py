"""Kernels of training alone against the formulas, as in `test_kernels.py`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

if os.environ.get("TRITON_INTERPRET") != "1":  # to be set before anything imports Triton
    pytest.skip("run it with TRITON_INTERPRET=1 and Triton installed", allow_module_level=True)

from trainable.engine.kernels.adamw import step_rows_on_gpu
from trainable.engine.kernels.block_products import add_gradients as add_block_gradients
from trainable.engine.kernels.dropout_mask import mask_on_gpu
from trainable.engine.kernels.fp8 import quantise_on_gpu
from trainable.engine.kernels.shared_input import add_kept_blocks, multiply_kept_blocks
from trainable.engine.layers.attention import Packing
from trainable.engine.layers.backbone import open_backbone
from trainable.engine.layers.blocks import Blocks
from trainable.engine.layers.dropout import Dropout, make_feature_keys
from trainable.engine.layers.fusion import fuse_blocks, fuse_norm
from trainable.engine.layers.shared_input import (
    add_gradients,
    add_kept_products,
    multiply_kept,
    spell_mask,
)
from trainable.engine.slots.adamw import step_rows
from trainable.model.counter import mix
from trainable.model.fp8 import LARGEST, SMALLEST, quantise_rows
from tune.bench.tiny_models import write_model


@pytest.mark.parametrize("is_dropped", [True, False])
@pytest.mark.parametrize("n_layers, m, n", [(1, 72, 8), (2, 24, 136), (3, 160, 64)])
def test_layers_that_read_one_input(n_layers: int, m: int, n: int, is_dropped: bool) -> None:
    """Against one after the other; what dropout keeps bit for bit."""
    near = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-3)
    layout = Blocks.of((256, 0, 128), torch.device("cpu"))
    x, y, lows = torch.randn(384, m), torch.randn(384, m), torch.randn(n_layers, 384, n)
    bank = torch.randn(3, 700 + n_layers * (m * n + 40))  # with other numbers between them
    places = [7 + layer * (m * n + 40 - layer) for layer in range(n_layers)]
    a = [bank[:, place : place + m * n].unflatten(1, (m, n)) for place in places]
    scales = list(torch.rand(3, 5, 1, 1).unbind(1))[1 : 1 + n_layers]
    keys = torch.stack([make_feature_keys(str(i), m, layout.device) for i in range(n_layers)])
    token_keys = mix(torch.arange(384, dtype=torch.int32)[:, None])
    shares = torch.tensor([[1.0], [0.9], [0.5]])[torch.arange(384) % 3]
    dropout = Dropout(token_keys, shares) if is_dropped else None
    mask = spell_mask(dropout, keys)
    for own in (scales, []):
        wanted = multiply_kept(layout, x, dropout, keys, a, own)
        found = multiply_kept_blocks(x, mask, a, layout.slots, own)
        near(found, wanted)
    for kept, own in zip(found[0], keys, strict=False):
        assert torch.equal(kept, x if mask is None else mask_on_gpu(x, mask[0], own, mask[2]))
    there, turned = y.clone(), [each.mT for each in a]
    assert add_kept_blocks(there, lows, turned, mask, layout.slots) is there
    near(there, add_kept_products(layout, y, lows, turned, dropout, keys))
    totals = bank.clone()
    add_gradients(layout, a, found[0], lows)
    mine = [totals[:, place : place + m * n].unflatten(1, (m, n)) for place in places]
    add_block_gradients(mine, found[0], lows, layout.borders)
    near(totals, bank)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("widths", [(64,), (5000,), (48, 16, 16), (4100, 4200)])
def test_rows_in_8_bits(widths: tuple[int, ...], dtype: torch.dtype) -> None:
    """But for subnormal numbers, powers of two and those right below, which Triton's interpreter
    rounds wrongly (it rounds ties up, and forgets to carry)."""
    parts = [(torch.randn(9, width) * 10 ** torch.randn(9, 1)).to(dtype) for width in widths]
    for part in parts:
        part[3] = 0
        part[4] *= 1e-36
    for factors in (None, torch.rand(sum(widths))):
        wanted, scales = quantise_rows(parts, factors)
        found, own = quantise_on_gpu(parts, factors, LARGEST, SMALLEST)
        bits = wanted.view(torch.uint8)
        mantissas = bits & 0b111
        is_compared = (mantissas != 0) & (mantissas != 0b111) & (bits & 0b1111000 != 0)
        found, wanted = found.float(), wanted.float()
        torch.testing.assert_close(found[is_compared], wanted[is_compared], rtol=2**-3, atol=0)
        assert (found == wanted)[is_compared].float().mean() > 0.95
        assert torch.equal(own, scales)
        assert not found[3].any()


@pytest.mark.parametrize("is_wide", [False, True])
def test_rows_are_stepped_by_the_formula_and_only_those_that_step(is_wide: bool) -> None:
    """Of four: one steps, one waits for more, one's gradient is not finite, one averages."""
    slots, width = 4, 1500
    rows = [torch.randn(slots, width) for _ in range(5)]
    rows[3].abs_()  # squares
    numbers = [
        [1, 0, 1, 1],
        [1, 0, 0, 1],
        [0.5] * 4,
        [0.1, 0.2, 0.3, 0.4],
        [0.2] * 4,
        [1, 1, 1, 0.25],
    ]
    columns = torch.tensor(numbers)[:, :, None]
    paces = torch.rand(2, slots, width if is_wide else 1)
    wanted = [row.clone() for row in rows]
    step_rows(tuple(wanted[:4]), wanted[4], tuple(columns), paces)  # type: ignore[arg-type]
    before = [row.clone() for row in rows]
    step_rows_on_gpu(rows[:4], rows[4], torch.cat(tuple(columns), 1), paces)
    for found, other, old in zip(rows, wanted, before, strict=True):
        torch.testing.assert_close(found, other)
        assert torch.equal(found[1], old[1]) and not torch.equal(found[0], old[0])


@pytest.mark.parametrize("name, is_ours", [("llama", True), ("granite", False)])
def test_a_block_of_layers(name: str, is_ours: bool, tmp_path: Path) -> None:
    """Granite's multiplies what it adds: it stays as it is."""
    model = AutoModelForCausalLM.from_pretrained(write_model(name, tmp_path))
    model.requires_grad_(False)
    if name == "granite":
        model.config.residual_multiplier = 0.5
        for layer in model.model.layers:
            layer.residual_multiplier = 0.5
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            fuse_norm(module)
    run = open_backbone(model)
    embedded, packing = torch.randn(1, 9, model.config.hidden_size), Packing((9,), model.device)

    def differentiate() -> list[torch.Tensor]:
        x = embedded.clone().requires_grad_()
        out = model.model(
            inputs_embeds=x, position_ids=packing.positions(), packing=packing, use_cache=False
        ).last_hidden_state
        return [out, torch.autograd.grad((out * torch.linspace(-1, 1, 9)[:, None]).sum(), x)[0]]

    wanted = differentiate()
    assert len(fuse_blocks(model, run)) == (len(model.model.layers) if is_ours else 0)
    torch.testing.assert_close(differentiate(), wanted, rtol=1e-4, atol=1e-5)
