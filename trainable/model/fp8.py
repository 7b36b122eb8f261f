"""Frozen linear layers in FP8 (e4m3), whose products a GPU of compute capability 9.0 makes at about
twice the rate of bf16's.

y = x W^T, with one scale a token of x and one an output of W. On the way back W's scales go into
the incoming gradient before that has one scale a token of its own: the very same 8-bit weights
serve, transposed, so that the gradient is that of what was computed. A token's scale is its own
largest number's: nothing of a trial depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainable.errors import ConfigError, Setting
from trainable.model.empty import count_experts
from trainable.model.modules import list_linear_paths

CAPABILITY = (9, 0)  # from which on torch has products with a scale a row
LARGEST = 448.0  # of e4m3
SMALLEST = 2.0**-100  # scale: of a row of zeros
ALIGNED = 16  # both sides of a matrix are a multiple of it

Rows = tuple[Tensor, Tensor]  # e4m3 [tokens, width], and float32 [tokens, 1]: what they are times


class Fp8Linear(nn.Linear):
    """A layer's weight [out, in] in 8 bits, twice: as it is, and transposed for the way back."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """weight [out, in] of any floating-point type, bias [out]"""
        super().__init__(weight.shape[1], weight.shape[0], bias=False, device="meta")
        values, scales = quantise_rows([weight.detach()])
        self.weight = nn.Parameter(values, requires_grad=False)
        self.bias: nn.Parameter | None  # type: ignore[assignment]
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.scales: Tensor
        self.ones: Tensor
        self.register_buffer("scales", scales.mT.contiguous(), persistent=False)  # [1, out]
        self.register_buffer("ones", torch.ones_like(weight[:1], dtype=torch.float32), False)
        self.turned = values.mT.contiguous()  # [in, out]; part of `joint` where that is of several
        self.joint, self.joint_scales = self.turned, self.scales  # of its siblings, side by side

    def forward(self, x: Tensor) -> Tensor:  # [..., in] -> [..., out]
        return multiply_together([self], x)[0]


def multiply_together(layers: Sequence[Fp8Linear], x: Tensor) -> list[Tensor]:
    """What one layer, or all that were joined, make of x [..., in]: [..., out]."""
    made: tuple[Tensor, ...] = Products.apply(x.reshape(-1, x.shape[-1]), layers)
    return [y.unflatten(0, x.shape[:-1]) for y in made]


class Products(torch.autograd.Function):
    """Of x [tokens, in]: [tokens, out] each, with its bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: Sequence[Fp8Linear]) -> tuple[Tensor, ...]:
        ctx.layers = layers
        return tuple(multiply(layers, x))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return multiply_back(ctx.layers, grads), None


def multiply(layers: Sequence[Fp8Linear], x: Tensor) -> list[Tensor]:
    """What each of the layers makes of x [tokens, in], which is quantised once: [tokens, out]."""
    rows = quantise_rows([x])
    ys = [multiply_rows(rows, layer.weight, layer.scales, x.dtype) for layer in layers]
    return [y if of.bias is None else y.add_(of.bias) for y, of in zip(ys, layers, strict=True)]


def multiply_back(layers: Sequence[Fp8Linear], grads: Sequence[Tensor]) -> Tensor:
    """The gradient [tokens, in] of the input that these layers, one or all that were joined, read:
    one product of the gradients [tokens, out] side by side."""
    first = layers[0]
    if len(layers) == 1:
        turned, scales = first.turned.contiguous(), first.scales
    else:
        turned, scales = first.joint, first.joint_scales
    rows = quantise_rows(grads, scales[0])
    return multiply_rows(rows, turned, first.ones, grads[0].dtype)


def join(layers: Sequence[Fp8Linear]) -> None:
    """In place: layers that always read the same input have their transposed weights side by
    side."""
    joint = torch.cat([layer.turned for layer in layers], 1)
    scales = torch.cat([layer.scales for layer in layers], 1)
    parts = joint.split([layer.out_features for layer in layers], 1)
    for layer, part in zip(layers, parts, strict=True):
        layer.turned, layer.joint, layer.joint_scales = part, joint, scales


def quantise_rows(parts: Sequence[Tensor], factors: Tensor | None = None) -> Rows:
    """Up to three tensors [tokens, width] side by side, times factors [all widths]: in 8 bits, each
    token's largest number being LARGEST."""
    if parts[0].is_cuda:
        from trainable.engine.kernels.fp8 import quantise_on_gpu

        return quantise_on_gpu(parts, factors, LARGEST, SMALLEST)
    numbers = torch.cat([part.float() for part in parts], 1)
    numbers = numbers if factors is None else numbers * factors
    most = numbers.abs().amax(1, keepdim=True).clamp(min=LARGEST * SMALLEST)
    times = torch.full_like(most, LARGEST) / most  # torch rounds LARGEST / most twice
    return (numbers * times).to(torch.float8_e4m3fn), most / LARGEST


def multiply_rows(rows: Rows, weight: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """rows [tokens, in], weight e4m3 [out, in], scales [1, out] -> [tokens, out]"""
    values, of_tokens = rows
    if values.is_cuda:
        return torch._scaled_mm(
            values, weight.mT, of_tokens, scales, out_dtype=dtype, use_fast_accum=True
        )
    return (values.float() @ weight.float().mT * of_tokens * scales).to(dtype)


def read_weight(layer: Any) -> Tensor:
    """A linear layer's weight [out, in] as its products have it, however it is held."""
    from peft.utils.integrations import dequantize_module_weight

    if isinstance(layer, Fp8Linear):
        return layer.weight.float() * layer.scales.mT
    weight: Tensor = dequantize_module_weight(layer)
    return weight.detach()


def hold_in_fp8(model: nn.Module) -> None:
    """Replaces, one by one, the linear layers that LoRA can adapt and whose sides are multiples of
    16; the output layer, the embeddings and norms stay as they are."""
    for path in list_linear_paths(model):
        layer: Any = model.get_submodule(path)
        if layer.in_features % ALIGNED == layer.out_features % ALIGNED == 0:
            model.set_submodule(path, Fp8Linear(read_weight(layer), layer.bias))


def check_layers(model: Any, base_model: str) -> None:
    """Raises ConfigError where base_products=fp8 would leave most weights as they are, or where a
    model casts to its weights' type."""
    is_mixture = count_experts(model) > 0
    if is_mixture or model.config.is_encoder_decoder:
        kind = "a mixture of experts" if is_mixture else "an encoder-decoder"
        raise ConfigError(
            f"base_products=fp8 is for decoders without experts, and {base_model} is {kind}: ",
            *("give ", Setting("base_products", "compute")),
        )


def check_device(device: torch.device) -> None:
    """Raises ConfigError where a GPU has no such products; a CPU makes them in 32 bits."""
    if device.type != "cuda":
        return
    capability = torch.cuda.get_device_capability(device)
    if capability < CAPABILITY:
        raise ConfigError(
            f"base_products=fp8 needs a GPU of compute capability {spell(CAPABILITY)} (Hopper) or "
            f"later, and {torch.cuda.get_device_name(device)} has {spell(capability)}: give ",
            Setting("base_products", "compute"),
        )


def spell(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
