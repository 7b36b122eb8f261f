"""Loss scaling, each slot by itself: in fp16 a gradient below 6e-8 is zero and one above 65504 not
finite, so losses are multiplied before the way back, and gradients divided after it (Micikevicius
et al. 2018, arXiv 1710.03740).

A gradient that is not finite is not stepped with, and halves its slot's scale; a long run of finite
ones doubles it. All on the device: the host does not wait for it.
"""

import torch
from torch import Tensor

from trainable.trial import TrialFailed

# Powers of two: to scale rounds nothing
INITIAL, LOWEST, HIGHEST = 2.0**12, 1.0, 2.0**16
GROWS_AFTER = 200  # steps without a halving
SCALE, FINITE_STEPS, SKIPPED_STEPS = range(3)  # a slot's numbers


def begin(scaling: Tensor, *, is_fp16: bool) -> None:
    """A new trial's numbers [3]. Other types than fp16 need no scale."""
    scaling.zero_()
    scaling[SCALE] = INITIAL if is_fp16 else 1.0


def is_spent(scaling: Tensor) -> Tensor:
    """[slots]: whether the scale is as low as it goes, so that a gradient that is not finite is the
    trial's own fault. scaling [slots, 3]."""
    return scaling[:, SCALE] <= LOWEST


def adapt(scaling: Tensor, wants: Tensor, is_finite: Tensor) -> None:
    """After a step, in place: scaling [slots, 3]; wants, is_finite [slots]: whether the slot was to
    step, and could."""
    scale, finite_steps, skipped_steps = scaling.unbind(1)
    fails, grows = wants & ~is_finite, wants & is_finite & (finite_steps + 1 >= GROWS_AFTER)
    changed = torch.where(grows, scale * 2, torch.where(fails, scale / 2, scale))
    scaling[:, SCALE] = changed.clamp(LOWEST, HIGHEST)
    scaling[:, SKIPPED_STEPS] = skipped_steps + fails
    scaling[:, FINITE_STEPS] = torch.where(grows | fails, 0.0, finite_steps + wants)


def not_finite(turns_seen: int, learning_rate: float | None) -> TrialFailed:
    """Why a trial fails whose loss or gradient is not finite."""
    return TrialFailed(
        f"the loss or its gradient is not finite after {turns_seen} turns "
        f"(learning_rate={learning_rate})"
    )
