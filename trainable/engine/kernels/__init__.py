"""Triton kernels, and nothing else: the one room that imports Triton."""

BLOCK_TOKENS = 128  # of one slot: what one program of a block kernel takes
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # AdamW's: of its kernel, and without one
