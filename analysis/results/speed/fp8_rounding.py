"""How far FP8 products are from those of 32 bits, by how each side is rounded; on a CPU, made-up
numbers: python analysis/results/speed/fp8_rounding.py"""

import torch
from torch import Tensor

TOKENS, WIDTH = 512, 1024


def quantise(x: Tensor, dtype: torch.dtype, is_power: bool) -> Tensor:
    """Rounded, with a scale a row."""
    scale = x.abs().amax(1, keepdim=True) / torch.finfo(dtype).max
    scale = 2 ** scale.log2().ceil() if is_power else scale
    return (x / scale).to(dtype).float() * scale


def measure(found: Tensor, wanted: Tensor) -> str:
    return f"{100 * float((found - wanted).norm() / wanted.norm()):.1f} %"


def main() -> None:
    torch.manual_seed(0)
    x = torch.randn(TOKENS, WIDTH)
    x[:, torch.randperm(WIDTH)[:8]] *= 30
    w = 0.02 * torch.randn(WIDTH, WIDTH) * (1 + 0.5 * torch.randn(WIDTH, 1)).abs()
    grad = torch.randn(TOKENS, WIDTH) * torch.exp(2 * torch.randn(TOKENS, 1))
    grad *= torch.exp(torch.randn(TOKENS, WIDTH))
    for is_power in (False, True):
        print("scales that are powers of two" if is_power else "scales as they are")
        own = quantise(w, torch.float8_e4m3fn, is_power)
        print("  forward", measure(quantise(x, torch.float8_e4m3fn, is_power) @ own.T, x @ w.T))
        scale = w.abs().amax(1) / 448
        turned = quantise(w.T.contiguous(), torch.float8_e4m3fn, is_power)
        for dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
            apart = measure(quantise(grad, dtype, is_power) @ turned.T, grad @ w)
            folded = quantise(grad * scale, dtype, is_power) @ (own / scale[:, None])
            print(f"  back, {dtype}: W's columns anew {apart}, W's scales", end=" ")
            print("in the gradient", measure(folded, grad @ w))


if __name__ == "__main__":
    main()
