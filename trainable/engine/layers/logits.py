"""From hidden states to the scores of every token of the vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor


def to_logits(hidden: Tensor, output: Tensor) -> Tensor:
    """hidden [..., width] times the output layer's weights [vocabulary, width]: logits [...,
    vocabulary] in 32 bits. In 16 they are steps of 1/8 nat where they are large, and of two tokens
    on the same step the one with the lower id would be taken as the likeliest."""
    if hidden.is_cuda and hidden.dtype != torch.float32:
        flat = torch.mm(hidden.flatten(0, -2), output.T, out_dtype=torch.float32)
        return flat.view(*hidden.shape[:-1], -1)
    return hidden.float() @ output.float().T
