"""Dropout that draws its mask twice: forward and backward agree, at the rate asked for."""

from __future__ import annotations

import torch

from trainable.engine.counter import mix
from trainable.engine.lora import Dropout, drop


def make_dropout(rates: list[float]) -> Dropout:
    keep = 1 - torch.tensor(rates)[:, None]
    return Dropout(token_keys=mix(torch.arange(len(rates))[:, None]), keep=keep)


def test_the_gradient_passes_where_the_value_did() -> None:
    dropout, key = make_dropout([0.5, 0.1, 0.0]), torch.tensor(99)
    x = torch.rand(3, 64) + 1
    x.requires_grad_()
    weights = torch.rand(3, 64)
    (drop(x, dropout, key) * weights).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, weights * drop(torch.ones(3, 64), dropout, key))
    assert torch.equal(x.grad == 0, drop(x, dropout, key) == 0)
    assert torch.equal(x.grad[2], weights[2])


def test_each_token_has_its_own_rate_and_each_module_its_own_mask() -> None:
    dropout = make_dropout([0.3] * 2000 + [0.05] * 2000)
    x = torch.ones(4000, 64)
    one, other = (drop(x, dropout, torch.tensor(key)) for key in (1, 2))
    assert abs(float((one[:2000] == 0).float().mean()) - 0.3) < 0.01
    assert abs(float((one[2000:] == 0).float().mean()) - 0.05) < 0.005
    assert abs(float(one.mean()) - 1) < 0.01
    both = ((one == 0) & (other == 0))[:2000].float().mean()
    assert abs(float(both) - 0.09) < 0.01
