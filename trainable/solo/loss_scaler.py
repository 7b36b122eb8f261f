"""Loss scaling in fp16 of a trial alone: a slot's rule (`trainable.engine.slots.loss_scale`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainable.engine.slots.loss_scale import SCALE, adapt, begin, is_spent


class LossScaler:
    """In other types than fp16 nothing is scaled."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.is_needed = dtype == torch.float16
        self.scaling = torch.zeros(1, 3, device=device)
        begin(self.scaling[0], is_fp16=self.is_needed)

    def backward(self, loss: Tensor) -> None:
        """Of a loss []."""
        (loss * self.scaling[0, SCALE] if self.is_needed else loss).backward()

    @torch.no_grad()
    def unscale(self, weights: Sequence[nn.Parameter]) -> None:
        """Their gradients, once all of a step's are there."""
        for weight in weights:
            if self.is_needed and weight.grad is not None:
                weight.grad /= self.scaling[0, SCALE]

    @property
    def is_spent(self) -> bool:
        """Whether a gradient that is not finite is the trial's own fault."""
        return bool(is_spent(self.scaling))

    def step(
        self, optimizer: torch.optim.Optimizer, rates: Sequence[float], *, is_finite: bool
    ) -> None:
        """Taken with finite gradients, skipped with others; they are cleared. `rates`: of each
        group of parameters."""
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        if is_finite:
            optimizer.step()
        if self.is_needed:
            adapt(self.scaling, torch.tensor([True]), torch.tensor([is_finite]))
        optimizer.zero_grad()

    def restore(self, numbers: Any) -> None:
        """As `scaling` was; None: in a run of another type."""
        if self.is_needed and numbers is not None:
            self.scaling.copy_(torch.as_tensor(numbers))
