"""The principal components of a layer's weight, which PiSSA begins with (arXiv 2404.02948)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainable.model.fp8 import read_weight

EXACT_WIDTH = 1024  # of the narrower side: of wider ones the decomposition would take minutes
ITERATIONS = 16  # of subspace iteration there
SEED = 0  # of what that starts from


@torch.no_grad()
def split_weight(layer: Any, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    """A [in, rank] and B [rank, out] in 32 bits: scale A B is the matrix of that rank nearest to
    the layer's transposed weight, as its quantisation left it. Each side has the root of the
    singular values; where there are fewer than `rank` the others are zero."""
    weight = read_weight(layer).float()
    left, values, right = decompose(weight, min(rank, *weight.shape))
    root = (values / scale).sqrt()
    a = weight.new_zeros(weight.shape[1], rank)
    b = weight.new_zeros(rank, weight.shape[0])
    a[:, : len(root)], b[: len(root)] = right * root, (left * root).T
    return a, b


def decompose(weight: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The largest singular values [rank] of weight [out, in], and their vectors on both sides: left
    [out, rank], right [in, rank]."""
    if min(weight.shape) > EXACT_WIDTH:
        devices = [weight.device] if weight.is_cuda else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(SEED)
            left, values, right = torch.svd_lowrank(weight, q=rank, niter=ITERATIONS)
        return left, values, right
    if weight.shape[0] < weight.shape[1]:
        right, values, left = decompose(weight.T, rank)
        return left, values, right
    exact = weight.double()  # the products below square what is lost to rounding
    squares, vectors = torch.linalg.eigh(exact.T @ exact)
    right = vectors[:, -rank:].flip(1)
    values = squares[-rank:].flip(0).clamp(min=1e-30).sqrt()
    return (exact @ right / values).float(), values.float(), right.float()
