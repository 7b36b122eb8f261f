"""Triton kernels, and nothing else: the one room that imports Triton."""

BLOCK_TOKENS = 128  # of one slot: what one program of a block kernel takes
