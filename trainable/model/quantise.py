"""Linear layers to 4 or 8 bits in place, and 4-bit layers back to the values they stand for."""

from __future__ import annotations

import math
import os
from typing import Any

import torch

from trainable.model.gpu_memory import read_free
from trainable.model.uncompiled import (
    Int8Params,
    Linear4bit,
    Linear8bitLt,
    Params4bit,
    dequantize_4bit,
)

# Share of the free GPU memory, or of the machine's memory, that dequantised weights may take.
CUDA_SHARE = 0.40
CPU_SHARE = 0.25


def quantise(model: torch.nn.Module, quantisation: str, double: bool) -> None:
    """Replaces every plain linear layer but the output layer by its nf4, fp4 or int8 form.

    transformers does this while it loads a checkpoint; this serves weights that come from
    elsewhere (random, GGUF), and subclasses of nn.Linear that transformers leaves out (falcon's).
    What an architecture keeps in fp32 stays whole: t5's feed-forward casts its input to the type of
    the weight, and a packed weight's type is uint8.
    """
    done = (Linear4bit, Linear8bitLt)
    find_output = getattr(model, "get_output_embeddings", lambda: None)
    output_layer = find_output()
    kept = getattr(model, "_keep_in_fp32_modules", None) or ()
    for path in list_paths(model, torch.nn.Linear):
        layer = model.get_submodule(path)
        is_kept = layer is output_layer or path.rsplit(".", 1)[-1] in kept
        if not is_kept and not isinstance(layer, done):
            model.set_submodule(path, to_quantised(layer, quantisation, double))


def list_paths(model: torch.nn.Module, kind: type[torch.nn.Module]) -> list[str]:
    """Of the modules of that kind: names, for a list of the modules would keep the weights of all
    that are replaced until the last one is."""
    return [path for path, module in model.named_modules() if isinstance(module, kind)]


def to_quantised(layer: Any, quantisation: str, double: bool) -> torch.nn.Module:
    """The bitsandbytes layer that holds this linear layer's weights, on the same device."""
    sizes = (layer.in_features, layer.out_features, layer.bias is not None)
    weight, device, dtype = layer.weight.data, layer.weight.device, layer.weight.dtype
    new: Any
    with torch.device("meta"):
        if quantisation == "int8":
            new = Linear8bitLt(*sizes, has_fp16_weights=False)
            new.weight = Int8Params(weight, requires_grad=False, has_fp16_weights=False)
        else:
            new = Linear4bit(*sizes, compute_dtype=dtype, quant_type=quantisation)
            new.weight = Params4bit(
                weight,
                requires_grad=False,
                quant_type=quantisation,
                compress_statistics=double,
                module=new,
            )
    new.bias = layer.bias
    return new.to(device)


def dequantise(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Replaces every 4-bit layer by a plain one that holds the same values in `dtype`, exactly as
    bitsandbytes' own forward pass dequantises them."""
    for path in list_paths(model, Linear4bit):
        layer: Any = model.get_submodule(path)
        packed = layer.weight
        values = dequantize_4bit(packed.data, packed.quant_state).to(dtype)
        with torch.device("meta"):
            plain = torch.nn.Linear(layer.in_features, layer.out_features, bias=False)
        plain.weight = torch.nn.Parameter(values, requires_grad=False)
        plain.bias = layer.bias
        model.set_submodule(path, plain)


def drop_quantiser(model: Any) -> None:
    """Makes transformers and peft see an ordinary model: one that may be saved, and adapted."""
    model.hf_quantizer = None
    model.is_quantized = model.is_loaded_in_4bit = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def count_params(model: torch.nn.Module) -> int:
    """Parameters of the model, tied ones once, packed 4-bit ones as what they stand for."""
    return sum(count_values(parameter) for parameter in model.parameters())


def count_values(parameter: Any) -> int:
    state = getattr(parameter, "quant_state", None)
    return math.prod(state.shape) if state is not None else parameter.numel()


def has_room(model: torch.nn.Module, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the model's 4-bit weights, dequantised to `dtype`, take a modest share of the memory
    that is there."""
    packed = [p for p in model.parameters() if getattr(p, "quant_state", None) is not None]
    needed_bytes = sum(count_values(p) for p in packed) * dtype.itemsize
    if device.type == "cuda":
        return needed_bytes < CUDA_SHARE * read_free(device)[0]
    return needed_bytes < CPU_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
