"""Dropout that draws its mask twice: each token at its rate, each module by itself."""

from __future__ import annotations

import torch
from torch import Tensor

from trainable.engine.layers.dropout import Dropout, make_feature_keys
from trainable.model.counter import mix


def draw(rates: list[float], module: int) -> Tensor:
    """What is left of ones [tokens, 64]."""
    keep = 1 - torch.tensor(rates)[:, None]
    dropout = Dropout(mix(torch.arange(len(rates), dtype=torch.int32)[:, None]), keep)
    keys = make_feature_keys(str(module), 64, torch.device("cpu"))
    return dropout.apply(torch.ones(len(rates), 64), keys)


def test_each_token_has_its_own_rate_and_each_module_its_own_mask() -> None:
    rates = [0.3] * 2000 + [0.05] * 2000
    one, other = draw(rates, 1), draw(rates, 2)
    assert torch.equal(one, draw(rates, 1))
    assert abs(float((one[:2000] == 0).float().mean()) - 0.3) < 0.01
    assert abs(float((one[2000:] == 0).float().mean()) - 0.05) < 0.005
    assert abs(float(one.mean()) - 1) < 0.01
    both = ((one == 0) & (other == 0))[:2000].float().mean()
    assert abs(float(both) - 0.09) < 0.01
