"""Cross-entropy on target tokens only, in chunks: logits of a whole pass never exist at once."""

from typing import Any

import torch
from torch import Tensor

from trainable.engine.layers.output import Output

CHUNK_NUMBERS = 2**27  # logits held at a time: 512 MiB in 32 bits


class TargetLoss(torch.autograd.Function):
    """Each target's negative log-likelihood, with the gradient made while the logits are there.

    The output layer is frozen, so the only gradient is the one of the hidden states: weights[i] *
    (softmax - one_hot) W, in the same chunk as the loss, and back through its scale and soft cap.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, output: Output, labels: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """hidden [targets, width], labels and weights [targets] -> the weighted sum [] and every
        target's loss in nats [targets]."""
        grad = torch.empty_like(hidden)
        nats = torch.empty(len(hidden), device=hidden.device)
        chunk = max(1, CHUNK_NUMBERS // output.weight.shape[0])
        derive = derive_loss
        if hidden.is_cuda:
            from trainable.engine.kernels.fused import derive_loss_here as derive
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            logits = output.logits(hidden[part])
            slope = output.slope(logits)  # before the gradient takes the logits' place
            nats[part], grad_logits = derive(logits, labels[part], weights[part])
            grad[part] = output.input_gradient(grad_logits, slope)
        ctx.save_for_backward(grad)
        ctx.mark_non_differentiable(nats)
        return (nats * weights).sum(), nats

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:  # [], [targets]
        (grad,) = ctx.saved_tensors
        return grad * grads[0].to(grad.dtype), None, None, None


def derive_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """logits [targets, vocabulary], labels and weights [targets] -> every target's loss in nats
    [targets], and the gradient of the weighted sum in the logits."""
    scores = logits.float()
    log_sums = scores.logsumexp(-1, keepdim=True)
    nats = log_sums - scores.gather(1, labels[:, None])
    is_label = torch.arange(logits.shape[1], device=logits.device) == labels[:, None]
    grad_logits = (scores - log_sums).exp() - is_label.float()
    return nats[:, 0], (grad_logits * weights[:, None]).to(logits.dtype)
