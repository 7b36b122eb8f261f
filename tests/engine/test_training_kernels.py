"""Kernels of training alone against the formulas, as in `test_kernels.py`."""

from __future__ import annotations

import os
from functools import partial

import pytest
import torch

if os.environ.get("TRITON_INTERPRET") != "1":  # to be set before anything imports Triton
    pytest.skip("run it with TRITON_INTERPRET=1 and Triton installed", allow_module_level=True)

from trainable.engine.kernels.adamw import step_rows_on_gpu
from trainable.engine.kernels.dropout_mask import (
    add_kept_blocks,
    mask_on_gpu,
    multiply_kept_blocks,
)
from trainable.engine.layers.blocks import Blocks
from trainable.engine.layers.dropout import (
    Dropout,
    add_kept_product,
    make_feature_keys,
    multiply_kept,
)
from trainable.engine.slots.adamw import step_rows
from trainable.model.counter import mix


@pytest.mark.parametrize("m, n", [(72, 8), (24, 136), (160, 64)])
def test_dropout_inside_the_products_of_blocks(m: int, n: int) -> None:
    """What is kept bit for bit; at a rank of several tiles, too."""
    near = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-4)
    blocks = Blocks.of((256, 0, 128), torch.device("cpu"))
    x, y, low = (torch.randn(384, width) for width in (m, m, n))
    a, scale = torch.randn(3, m, n), torch.tensor([0.5, 2.0, 1.0])[:, None, None]
    keys = mix(torch.arange(384, dtype=torch.int32)[:, None])
    dropout = Dropout(keys, torch.tensor([[1.0], [0.9], [0.5]])[torch.arange(384) % 3])
    features = make_feature_keys("layer", m, torch.device("cpu"))
    mask = keys, features, dropout.keep
    wanted = multiply_kept(blocks, x, dropout, features, a, scale)
    found = multiply_kept_blocks(x, mask, a, blocks.slots, scale)
    assert torch.equal(found[0], mask_on_gpu(x, *mask))
    near(found, wanted)
    there = y.clone()
    assert add_kept_blocks(there, low, a.mT, mask, blocks.slots) is there
    near(there, add_kept_product(blocks, y, low, a.mT, dropout, features))


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
