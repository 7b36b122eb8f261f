"""Models of well-known shapes with random weights, and windows of random tokens: what a step's time
is measured on."""

from typing import Any, cast

import numpy as np
import torch
from accelerate import init_empty_weights
from transformers import AutoModelForCausalLM, GPTNeoXConfig, LlamaConfig

from trainable.corpus.encode import Window
from trainable.model.base import Base
from trainable.model.fp8 import hold_in_fp8
from trainable.model.precision import pick_compute_dtype
from trainable.model.quantise import count_params, dequantise, list_paths, to_quantised
from trainable.model.special_ids import SpecialIds

TARGET_SHARE = 0.3  # of the tokens; system turns in MultiWOZ with belief states


LLAMA = {"model_type": "llama", "max_position_embeddings": 2048}
NEOX = {"model_type": "gpt_neox", "max_position_embeddings": 2048, "vocab_size": 50304}
SHAPES: dict[str, dict[str, Any]] = {
    "llama-7b": {**LLAMA, "hidden_size": 4096, "intermediate_size": 11008, "vocab_size": 32000}
    | {"num_hidden_layers": 32, "num_attention_heads": 32},
    "llama-13b": {**LLAMA, "hidden_size": 5120, "intermediate_size": 13824, "vocab_size": 32000}
    | {"num_hidden_layers": 40, "num_attention_heads": 40},
    "llama-30b": {**LLAMA, "hidden_size": 6656, "intermediate_size": 17920, "vocab_size": 32000}
    | {"num_hidden_layers": 60, "num_attention_heads": 52},
    "llama-65b": {**LLAMA, "hidden_size": 8192, "intermediate_size": 22016, "vocab_size": 32000}
    | {"num_hidden_layers": 80, "num_attention_heads": 64},
    "pythia-12b": {**NEOX, "hidden_size": 5120, "intermediate_size": 20480}
    | {"num_hidden_layers": 36, "num_attention_heads": 40},
    "pythia-2.8b": {**NEOX, "hidden_size": 2560, "intermediate_size": 10240}
    | {"num_hidden_layers": 32, "num_attention_heads": 32},
    "pythia-1.4b": {**NEOX, "hidden_size": 2048, "intermediate_size": 8192}
    | {"num_hidden_layers": 24, "num_attention_heads": 16},
    "smollm2-135m": {**LLAMA, "hidden_size": 576, "intermediate_size": 1536, "vocab_size": 49152}
    | {"num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3},
    "pythia-70m": {**NEOX, "hidden_size": 512, "intermediate_size": 2048}
    | {"num_hidden_layers": 6, "num_attention_heads": 8},
    "toy": {**LLAMA, "hidden_size": 64, "intermediate_size": 128, "vocab_size": 512}
    | {"num_hidden_layers": 2, "num_attention_heads": 4},
}


def make_sizes(shape: dict[str, Any]) -> LlamaConfig | GPTNeoXConfig:
    """A model's configuration."""
    sizes = dict(shape)
    return (LlamaConfig if sizes.pop("model_type") == "llama" else GPTNeoXConfig)(**sizes)


def build_model(shape: str, device: torch.device, compute: str = "auto") -> Any:
    """Random weights of that shape in NF4 with double quantisation, built on the device layer by
    layer: no more than one of them stands there in 16 bits."""
    dtype = pick_compute_dtype("nf4", compute, device)
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(make_sizes(SHAPES[shape]), dtype=dtype)
    output = model.get_output_embeddings()
    for path in list_paths(model, torch.nn.Module):
        layer = model.get_submodule(path)
        if not list(layer.parameters(recurse=False)):
            continue
        layer.to_empty(device=device, recurse=False)
        for name, weight in layer.named_parameters(recurse=False):
            draw_(weight.data, is_matrix=weight.dim() > 1, is_bias=name == "bias")
        if isinstance(layer, torch.nn.Linear) and layer is not output:
            model.set_submodule(path, to_quantised(layer, "nf4", double=True))
    model.tie_weights()
    model.to(device).requires_grad_(False)
    return model.train()


def draw_(weight: torch.Tensor, *, is_matrix: bool, is_bias: bool) -> None:
    """In place: a matrix at random, a norm's weight as it begins."""
    if is_matrix:
        weight.normal_(std=0.02)
    else:
        weight.fill_(0.0 if is_bias else 1.0)


def make_windows(sequences: int, mean_tokens: int, vocabulary: int, even: bool) -> list[Window]:
    """Windows of one length, or of lengths from half to one and a half of it."""
    generator = np.random.default_rng(0)
    windows = []
    for i in range(16 * sequences):
        spread = (
            (mean_tokens, mean_tokens + 1) if even else (mean_tokens // 2, mean_tokens * 3 // 2)
        )
        tokens = int(generator.integers(*spread))
        is_target = generator.random(tokens) < TARGET_SHARE
        is_target[0], is_target[-1] = False, True
        ids = generator.integers(3, vocabulary, tokens).astype(np.int32)
        windows.append(Window(str(i), ids, is_target, (0,), (tokens // 2,)))
    return windows


def as_base(model: Any, residency: str) -> Base:
    dtype = model.dtype
    if residency == "fp8":
        hold_in_fp8(model)
    if residency in ("fp8", "dequantized"):
        dequantise(model, dtype)
    return Base(
        model=model,
        tokenizer=cast(Any, None),
        residency=residency,
        total_params=count_params(model),
        compute_dtype=dtype,
        special=SpecialIds(prefix=(), eos=2, pad=0),
    )
