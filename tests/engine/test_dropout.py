"""Dropout that draws its mask twice: forward and backward agree, at the rate asked for."""

from __future__ import annotations

import torch

from trainable.engine.lora import Dropout, apply_mask, drop


def make_dropout(rates: list[float]) -> Dropout:
    keep = 1 - torch.tensor(rates)[:, None]
    return Dropout(token_keys=torch.arange(len(rates))[:, None] * 7919, keep=keep)


def test_the_gradient_passes_where_the_value_did() -> None:
    dropout, key = make_dropout([0.5, 0.1, 0.0]), torch.tensor(99)
    x = torch.rand(3, 64) + 1
    inside, outside = x.clone().requires_grad_(), x.clone().requires_grad_()
    weights = torch.rand(3, 64)
    (drop(inside, dropout, key) * weights).sum().backward()
    (apply_mask(outside, dropout.token_keys, dropout.keep, key) * weights).sum().backward()
    assert inside.grad is not None and outside.grad is not None
    assert torch.equal(inside.grad, outside.grad)
    assert torch.equal(inside.grad == 0, drop(x, dropout, key) == 0)
    assert torch.equal(inside.grad[2], weights[2])


def test_each_token_has_its_own_rate_and_each_module_its_own_mask() -> None:
    dropout = make_dropout([0.3] * 2000 + [0.05] * 2000)
    x = torch.ones(4000, 64)
    one, other = (drop(x, dropout, torch.tensor(key)) for key in (1, 2))
    assert abs(float((one[:2000] == 0).float().mean()) - 0.3) < 0.01
    assert abs(float((one[2000:] == 0).float().mean()) - 0.05) < 0.005
    assert abs(float(one.mean()) - 1) < 0.01
    both = ((one == 0) & (other == 0))[:2000].float().mean()
    assert abs(float(both) - 0.09) < 0.01
