"""Random weights that do not depend on the device, nor on how many are drawn at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainable.model.random_weights import DrawnByCounter


def draw(seed: int = 0) -> tuple[Tensor, Tensor]:
    normal, uniform = torch.empty(200, 500, dtype=torch.bfloat16), torch.empty(30_000)
    with DrawnByCounter(seed):
        nn.init.normal_(normal.mT, mean=1.0, std=0.02)
        nn.init.uniform_(uniform, a=-3.0, b=1.0)
    return normal.float(), uniform


def test_the_numbers_are_those_of_the_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    normal, uniform = draw()
    assert normal.mean().item() == pytest.approx(1.0, abs=1e-3)
    assert normal.std().item() == pytest.approx(0.02, rel=0.02)
    share = ((normal - 1.0).abs() < 0.04).float().mean().item()
    assert share == pytest.approx(0.9545, abs=0.01)
    assert uniform.mean().item() == pytest.approx(-1.0, abs=0.05)
    assert -3 <= uniform.min() < -2.99 and 0.99 < uniform.max() < 1
    monkeypatch.setattr("trainable.model.random_weights.MOST_DRAWS", 777)
    assert all(map(torch.equal, draw(), (normal, uniform)))
    assert not torch.equal(draw(1)[0], normal)


def test_a_generator_of_one_s_own_is_left_to_draw() -> None:
    own = [torch.empty(5).normal_(generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    with DrawnByCounter(0):
        inside = torch.empty(5).normal_(generator=torch.Generator().manual_seed(3))
    assert torch.equal(own[0], own[1]) and torch.equal(inside, own[0])
