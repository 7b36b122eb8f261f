"""How far the self-check lets an engine be from transformers in 16 bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainable.engine.check.check import SelfCheck
from trainable.engine.check.compare import find_difference
from trainable.engine.check.reference import Expected, Findings
from trainable.model.base import BaseSpec, load_base

WORDS = 20
STEP = torch.linspace(-9.0, -0.5, WORDS).repeat(2, 1)  # [prompts, vocabulary]
NATS = torch.full((6,), 2.0)
GRADIENTS = {"layer": (torch.ones(3, 2), torch.ones(2, 3))}


def make_findings(nats: float = 0.0, step: float = 0.0, reply: int = 19) -> Findings:
    """Of a model whose losses and steps are so far off."""
    losses = {"short": NATS + nats, "long": NATS + nats}
    return Findings(losses, {"row": STEP + step, "branch": STEP}, [[reply, 7]], GRADIENTS)


def make_expected(margin: float = 5.0) -> Expected:
    """Rounding moves losses by 0.01 nats and steps by 0.1."""
    return Expected(make_findings(), [[margin, margin]], 0.01, 0.1, 0.0)


@pytest.mark.parametrize(
    ("found", "margin", "reason"),
    [
        (make_findings(nats=0.08), 5.0, None),
        (make_findings(nats=0.1), 5.0, "a dialogue alone differ by 0.1 nats (0.09 allowed)"),
        (make_findings(step=0.4), 5.0, None),
        (make_findings(step=-0.5), 5.0, "step (row) differs by 0.5 nats (0.45 allowed)"),
        (make_findings(step=float("nan")), 5.0, "step (row) differs by nan nats"),
        (make_findings(reply=3), 1.7, None),  # four times what a step may differ by
        (make_findings(reply=3), 1.9, "a greedy reply differs"),
    ],
)
def test_each_number_may_differ_by_what_rounding_makes_of_it(
    found: Findings, margin: float, reason: str | None
) -> None:
    told = find_difference(make_expected(margin), found, is_exact=False)
    assert told is None if reason is None else reason in str(told)


def test_only_the_likeliest_words_of_a_step_are_compared() -> None:
    unlikely = STEP.clone()
    unlikely[:, : WORDS - 8] -= 3.0
    found = Findings(make_findings().nats, {"row": unlikely, "branch": STEP}, [[19, 7]], GRADIENTS)
    assert find_difference(make_expected(), found, is_exact=False) is None


@pytest.mark.parametrize(("quantisation", "is_rough"), [("bf16", True), ("fp32", False)])
def test_rounding_moves_losses_and_steps_in_16_bits_alone(
    quantisation: str, is_rough: bool, own_cache: Path
) -> None:
    base = load_base(BaseSpec(quantisation=quantisation, device="cpu"))
    expected = SelfCheck(base, 256, 4).expected
    assert expected is not None
    noises = expected.noise_nats, expected.noise_steps, expected.noise_gradients
    assert all(0 < noise < 0.5 for noise in noises) if is_rough else noises == (0, 0, 0)
