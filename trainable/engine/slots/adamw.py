"""AdamW's formulas (arXiv 1711.05101) for rows of a bank, with clipping and a running average."""

import math

import torch
from torch import Tensor

from trainable.engine.kernels import BETA1, BETA2, EPSILON
from trainable.engine.slots.loss_scale import SCALE, SKIPPED_STEPS

Rows = tuple[Tensor, Tensor, Tensor, Tensor]  # weights, their average, both moments: [slots, width]


def update(
    kept: Rows, grads: Tensor, norms: Tensor, columns: Tensor, paces: Tensor, scaling: Tensor
) -> None:
    """A step in place after clipping each row to its own norm; who wanted one has no gradient any
    more. A row whose norm is not finite keeps its weights and moments.

    grads [slots, width]; norms [slots, 1], of unscaled gradients; columns [4, slots, 1]: whether a
    slot wants a step, its clipping norm, the step's number and its share of the average; paces [2,
    slots, 1 or width]: the decay's factor and the rate, the same for all numbers of a row or not
    (LoRA+, arXiv 2402.12354); scaling [slots, 3]: see `loss_scale`.
    """
    wants, clip_norm, step, share = columns.unbind()
    steps = (wants > 0) & torch.isfinite(norms)
    taken = step - scaling[:, SKIPPED_STEPS, None]
    correction1 = bias_correction(BETA1, taken)
    correction2 = bias_correction(BETA2, taken).sqrt()
    shrink = (clip_norm / (norms + 1e-6)).clamp(max=1.0) / scaling[:, SCALE, None]
    numbers = wants, steps.float(), shrink, correction1, correction2, share
    if not grads.is_cuda:
        return step_rows(kept, grads, numbers, paces)
    from trainable.engine.kernels.adamw import step_rows_on_gpu

    return step_rows_on_gpu(kept, grads, torch.cat(numbers, 1), paces)


def step_rows(kept: Rows, grads: Tensor, numbers: tuple[Tensor, ...], paces: Tensor) -> None:
    """numbers, [slots, 1] each: whether it wants a step and can be stepped, the gradient's factor,
    the corrections of both moments, the share of the average."""
    params, average, exp_avg, exp_avg_sq = kept
    wants, can, shrink, correction1, correction2, share = numbers
    decay, rate = paces.unbind()
    steps = can > 0
    clipped = grads * shrink
    mean = torch.lerp(exp_avg, clipped, 1 - BETA1)
    square = exp_avg_sq * BETA2 + (1 - BETA2) * clipped * clipped
    change = rate / correction1 * (mean / (square.sqrt() / correction2 + EPSILON))
    stepped = params * decay - change
    exp_avg.copy_(torch.where(steps, mean, exp_avg))
    exp_avg_sq.copy_(torch.where(steps, square, exp_avg_sq))
    params.copy_(torch.where(steps, stepped, params))
    average.copy_(torch.where(steps, follow(average, stepped, share), average))
    grads.copy_(torch.where(wants > 0, torch.zeros_like(grads), grads))


def bias_correction(beta: float, steps: Tensor) -> Tensor:
    """1 - beta^steps of each slot [slots], without rounding away what is small."""
    return -torch.expm1(steps * math.log(beta))


def follow(average: Tensor, weights: Tensor, share: Tensor) -> Tensor:
    """The running average after those weights, [slots, width] each; share [slots, 1], see
    `average_weight`: from 1 on the weights themselves."""
    return torch.where(share < 1, average + share * (weights - average), weights)
