"""AdamW, clipping, schedules and running averages for every slot at once, each with its own
settings and clock."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from trainable.engine.device.transfer import to_device
from trainable.engine.slots.adamw import update
from trainable.engine.slots.bank import SlotBank
from trainable.engine.slots.loss_scale import SCALE, adapt, is_spent
from trainable.engine.slots.rows import SlotRange
from trainable.trial import TrialConfig


@dataclass(frozen=True)
class StepSettings:
    """One slot's settings for one micro-step; a slot whose batch is not complete does not step."""

    steps: bool
    learning_rate: float = 0.0
    b_over_a: float = 1.0  # B's learning rate over A's
    frozen_from: int | None = None  # numbers of this rank and higher are not trained
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    step: int = 1  # 1 for the first optimizer step
    averaging: float = 0.0  # share of the steps so far that the average holds


def learning_rate_at(config: TrialConfig, turns_seen: int, goal_turns: int) -> float:
    """The rate for the step that begins at `turns_seen`, on the way to a milestone.

    Schedules run over turns, so that they do not depend on the batch size: linear warm-up over
    `warmup_turns`, then constant, linear or cosine decay to zero at `train_turns`, or `wsd`
    (warm-up, stable, decay: linear to zero over the last `decay_fraction` of the way to the
    milestone; arXiv 2404.06395).
    """
    assert config.learning_rate is not None and config.batch_turns is not None
    warmup = config.warmup_turns or 0
    warmed = min(1.0, (turns_seen + config.batch_turns) / warmup) if warmup else 1.0
    return config.learning_rate * warmed * decay_at(config, turns_seen, goal_turns)


def is_decaying(config: TrialConfig, turns_seen: int, goal_turns: int) -> bool:
    """Whether a `wsd` run has left its stable part: it trains as for this milestone only."""
    return config.schedule == "wsd" and decay_at(config, turns_seen, goal_turns) < 1


def decay_at(config: TrialConfig, turns_seen: int, goal_turns: int) -> float:
    """What is left of the peak rate, in [0, 1], once warm-up is over."""
    warmup = config.warmup_turns or 0
    is_branch = config.schedule == "wsd"  # its decay ends at the milestone
    end_turns = min(goal_turns, config.train_turns) if is_branch else config.train_turns
    left_turns = max(end_turns - max(turns_seen, warmup), 0)
    left = left_turns / max(end_turns - warmup, 1)
    if config.schedule == "linear":
        return left
    if config.schedule == "cosine":
        return 0.5 * (1 - math.cos(math.pi * left))
    if is_branch and config.decay_fraction:
        return min(1.0, left_turns / (config.decay_fraction * end_turns))
    return 1.0


def average_weight(averaging: float, step: int) -> float:
    """How much of the weights after optimizer step `step` (1 is the first) enters their running
    average: average += weight * (weights - average).

    min(1, 1 / (averaging * step)) makes it the mean of about the last `averaging` of all steps
    (polynomial-decay averaging: Shamir & Zhang 2013, arXiv 1212.1824); 0 makes it the last
    weights.

    >>> average_weight(1.0, 4), average_weight(0.25, 40), average_weight(0.25, 2)
    (0.25, 0.1, 1.0)
    >>> average_weight(0.0, 40)
    1.0
    """
    held_steps = averaging * step
    return 1.0 if held_steps <= 1 else 1 / held_steps


class SlotOptimizer:
    """Steps the bank's rows. A slot whose gradient is not finite is not stepped, and marked where
    its loss cannot be scaled down any more."""

    def __init__(self, bank: SlotBank) -> None:
        self.bank = bank
        self.is_broken = torch.zeros(bank.slots, dtype=torch.bool, device=bank.device)

    @torch.no_grad()
    def step(self, span: SlotRange, settings: list[StepSettings]) -> Tensor | None:
        """One AdamW step for the slots of the range that complete a batch; their gradients are
        cleared. Bitwise independent per slot: every operation is elementwise or along a row.
        Returns all the range's gradients' norms before clipping [slots]; None: no slot steps."""
        if not any(each.steps for each in settings):
            return None
        rows = slice(span.low, span.high)
        numbers = torch.tensor([_numbers(each) for each in settings], dtype=torch.float32)
        columns = numbers.to(self.bank.device, non_blocking=True).T[:, :, None]  # [8, slots, 1]
        paces = columns[4:6]
        if any(each.b_over_a != 1.0 for each in settings):
            paces = torch.where(self.bank.is_b, columns[6:], paces)
        if any(each.frozen_from is not None for each in settings):
            is_frozen = self._find_frozen(settings)
            self.bank.grads[rows].masked_fill_(is_frozen, 0.0)
            still = torch.tensor([1.0, 0.0], device=paces.device)  # no decay, no step
            paces = torch.where(is_frozen, still[:, None, None], paces)
        scaling, wants = self.bank.scaling[rows], columns[0, :, 0] > 0
        norms = self.bank.grads[rows].norm(dim=1, keepdim=True) / scaling[:, SCALE, None]
        is_finite = torch.isfinite(norms)[:, 0]
        self.is_broken[rows] |= wants & ~is_finite & is_spent(scaling)
        bank = self.bank
        kept = bank.params[rows], bank.average[rows], bank.exp_avg[rows], bank.exp_avg_sq[rows]
        update(kept, bank.grads[rows], norms, columns[:4], paces, scaling)
        if self.bank.is_fp16:
            adapt(scaling, wants, is_finite)
        return norms[:, 0]

    def _find_frozen(self, settings: Sequence[StepSettings]) -> Tensor:
        """bool [slots, width]"""
        none = self.bank.layout.rank
        begins = [none if s.frozen_from is None else s.frozen_from for s in settings]
        numbers = to_device(np.array(begins, dtype=np.int16), self.bank.device)
        return self.bank.rank_numbers >= numbers[:, None]

    def swap(self, one: int, other: int) -> None:
        kept = self.is_broken[one].clone()
        self.is_broken[one] = self.is_broken[other]
        self.is_broken[other] = kept


def _numbers(settings: StepSettings) -> tuple[float, ...]:
    """What `update` needs of one slot, its pace for A and for B."""
    rates = settings.learning_rate, settings.learning_rate * settings.b_over_a
    paces = ((1 - rate * settings.weight_decay, rate) for rate in rates)
    return (
        float(settings.steps),
        settings.clip_norm,
        float(settings.step),
        average_weight(settings.averaging, settings.step),
        *chain.from_iterable(paces),
    )
