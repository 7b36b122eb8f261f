"""A trial's steps: how long they are on the way, and AdamW's against torch's."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_trials import make_config

from trainable.engine.slots.optimizer import (
    SlotOptimizer,
    StepSettings,
    is_decaying,
    learning_rate_at,
)
from trainable.engine.slots.rows import SlotRange
from trainable.model.source import EMBEDDED_FOLDER
from trainable.trial import TrialConfig

PEAK = 1e-3
QUARTERS = (350, 600, 850, 1100)  # of the turns after warm-up
COSINE_AT_A_QUARTER = 0.5 + 0.5 * math.cos(math.pi / 4)


def schedule(kind: str, **changes: Any) -> TrialConfig:
    """Warms up over 100 of 1100 turns, so that 1000 are left for its shape."""
    fields = {"learning_rate": PEAK, "warmup_turns": 100, "train_turns": 1100, "batch_turns": 10}
    return make_config(EMBEDDED_FOLDER, schedule=kind, **{**fields, **changes})


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine"])
def test_warm_up_rises_step_by_step_to_the_peak(kind: str) -> None:
    shares = [learning_rate_at(schedule(kind), turns, 1100) / PEAK for turns in (0, 40, 90, 100)]
    assert shares == pytest.approx([0.1, 0.5, 1.0, 1.0])


@pytest.mark.parametrize(
    ("kind", "shares"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.75, 0.5, 0.25, 0.0]),
        ("cosine", [COSINE_AT_A_QUARTER, 0.5, 1 - COSINE_AT_A_QUARTER, 0.0]),
    ],
)
def test_the_shape_after_warm_up(kind: str, shares: list[float]) -> None:
    """It does not depend on the next milestone."""
    for goal_turns in (400, 1100):
        rates = [learning_rate_at(schedule(kind), turns, goal_turns) for turns in QUARTERS]
        assert rates == pytest.approx([PEAK * share for share in shares], abs=1e-12)


@pytest.mark.parametrize(("goal", "end"), [(500, 500), (1100, 1100), (5000, 1100)])
def test_wsd_decays_over_the_last_part_of_the_way_to_the_milestone(goal: int, end: int) -> None:
    config = schedule("wsd", decay_fraction=0.2)
    places = (0.5, 0.8, 0.9, 0.95, 1.0)
    rates = [learning_rate_at(config, round(place * end), goal) for place in places]
    assert rates == pytest.approx([PEAK, PEAK, PEAK / 2, PEAK / 4, 0.0], abs=1e-12)
    assert [is_decaying(config, round(place * end), goal) for place in places] == [
        *(False, False, True, True, True)
    ]


def test_without_warm_up_the_first_step_is_whole() -> None:
    assert learning_rate_at(schedule("constant", warmup_turns=0), 0, 1100) == PEAK
    assert learning_rate_at(schedule("linear", warmup_turns=0), 550, 1100) == PEAK / 2


def test_every_row_is_stepped_as_by_torch() -> None:
    """Two trials with settings of their own, the second of which steps every other time only."""
    torch.manual_seed(0)
    settings: list[dict[str, float]] = [
        {"learning_rate": 1e-2, "weight_decay": 0.1, "clip_norm": 0.5},
        {"learning_rate": 3e-3, "weight_decay": 0.0, "clip_norm": 100.0},
    ]
    names = ("params", "average", "exp_avg", "exp_avg_sq", "grads")
    bank: Any = SimpleNamespace(slots=2, device=torch.device("cpu"), is_fp16=False)
    bank.scaling = torch.tensor([[1.0, 0.0, 0.0]] * 2)
    vars(bank).update({name: torch.zeros(2, 7) for name in names})
    bank.params.normal_()
    theirs = [torch.nn.Parameter(row.clone()) for row in bank.params]
    optimizers = [
        torch.optim.AdamW([row], lr=each["learning_rate"], weight_decay=each["weight_decay"])
        for row, each in zip(theirs, settings, strict=True)
    ]
    steps = [0, 0]
    for number in range(6):
        bank.grads.normal_()
        wants = [True, number % 2 == 0]
        for row in (0, 1) if wants[1] else (0,):
            steps[row] += 1
            theirs[row].grad = bank.grads[row].clone()
            torch.nn.utils.clip_grad_norm_([theirs[row]], settings[row]["clip_norm"])
            optimizers[row].step()
        told = [
            StepSettings(steps=want, step=max(step, 1), **each)
            for want, step, each in zip(wants, steps, settings, strict=True)
        ]
        SlotOptimizer(bank).step(SlotRange(0, 2), told)
        assert [bool(row.any()) for row in bank.grads] == [False, not wants[1]]
        torch.testing.assert_close(bank.params, torch.stack(theirs).detach())
