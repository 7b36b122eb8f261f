"""Which of torch's kernels a process computes with."""

import torch

from trainable.system.environment import is_deterministic


def choose_kernels() -> None:
    """The deterministic ones where they are asked for, and none that is known to be wrong."""
    # where a kernel has no such form (on a GPU, packed attention's backward) torch warns, once
    torch.use_deterministic_algorithms(is_deterministic(), warn_only=True)
    # sums of 16-bit products in 32 bits: in fp16 they would end at 65504
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    # its gradients are not finite on an H100 or H200 where padded rows have 64 tokens more than a
    # multiple of 128 and all scores of a token are low: github.com/pytorch/pytorch/issues/196678
    torch.backends.cuda.enable_cudnn_sdp(False)
