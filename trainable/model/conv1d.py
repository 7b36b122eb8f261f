"""GPT-2's `Conv1D`: a linear layer whose weight is stored the other way round, [in, out].

The base model holds plain linear layers in their place, so that they are adapted, quantised and
packed like any other; what is written goes out as its architecture stores it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from trainable.model.quantise import list_paths


def to_linear(model: nn.Module) -> None:
    """In place; a bitsandbytes layer that has taken one's place already stays."""
    for path in list_paths(model, Conv1D):
        layer = model.get_submodule(path)
        model.set_submodule(path, put_transposed(layer, open_linear(layer)))


def open_linear(layer: Any) -> nn.Linear:
    n_in, n_out = layer.weight.shape
    return nn.Linear(n_in, n_out, device="meta")


def to_stored(model: nn.Module) -> None:
    """The way back, where the model's architecture has them."""
    config: Any = model.config
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config)
    for path, layer in empty.named_modules():
        if isinstance(layer, Conv1D):
            model.set_submodule(path, put_transposed(model.get_submodule(path), layer))


def put_transposed(layer: Any, other: Any) -> Any:
    """`other` with the layer's bias, and its weight with both dimensions swapped."""
    weight = layer.weight
    other.weight = nn.Parameter(weight.data.T.contiguous(), requires_grad=weight.requires_grad)
    other.bias = layer.bias
    return other
