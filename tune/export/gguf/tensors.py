"""A model's weights under llama.cpp's names, in its order, in the type they are written in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from trainable.trial import ConfigError
from tune.export.gguf.architecture import Architecture

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

LARGEST_F16 = 65504.0


def list_weights(model: Any, architecture: Architecture) -> Iterator[tuple[str, NDArray[Any]]]:
    """(llama.cpp's name, fp32 values). Raises ConfigError where a tensor has no name there."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    arch = next(a for a, name in MODEL_ARCH_NAMES.items() if name == architecture.name)
    names = get_tensor_name_map(arch, model.config.num_hidden_layers)
    is_tied = bool(model.config.tie_word_embeddings)
    for name, tensor in model.state_dict().items():
        if is_tied and name.startswith("lm_head."):
            continue
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise ConfigError(
                f"--gguf cannot write this model: llama.cpp has no place for its tensor {name}; "
                "export it with --merged"
            )
        yield found, settle(name, tensor, model.config, architecture).float().numpy()


def settle(name: str, tensor: Tensor, config: Any, architecture: Architecture) -> Tensor:
    """The tensor as llama.cpp's own formulas take it."""
    if architecture.adds_one_to_norms and name.endswith("norm.weight"):
        return tensor.float() + 1
    if architecture.interleaves_rope and ".q_proj." in name:
        return interleave(tensor, config.num_attention_heads)
    if architecture.interleaves_rope and ".k_proj." in name:
        return interleave(tensor, config.num_key_value_heads)
    return tensor


def interleave(tensor: Tensor, n_heads: int) -> Tensor:
    """Each head's two halves, row beside row: the pairs that one angle turns.

    >>> import torch
    >>> interleave(torch.arange(8), 2).tolist()
    [0, 2, 1, 3, 4, 6, 5, 7]
    """
    halves = tensor.reshape(n_heads, 2, -1, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape)


def pick_type(name: str, values: NDArray[Any], wanted: GGMLQuantizationType) -> Any:
    """Vectors stay in fp32, as llama.cpp wants them; rows that are no whole blocks are f16."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if values.ndim == 1:
        return GGMLQuantizationType.F32
    block, _ = GGML_QUANT_SIZES[wanted]
    kind = wanted if values.shape[-1] % block == 0 else GGMLQuantizationType.F16
    if kind == GGMLQuantizationType.F16 and np.abs(values).max() > LARGEST_F16:
        raise ConfigError(
            f"--gguf f16 cannot hold the weights of {name}, which go beyond {LARGEST_F16:g}: give "
            "--gguf q8_0"
        )
    return kind
