"""How a pass goes through a model's layers: by transformers' attention interface, or by torch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from trainable.engine.layers.attention import NAME, Cached, Packing
from trainable.engine.layers.own_attention import OwnAttention, make_placeholder

Run = Callable[[Tensor, Tensor, Packing | Cached], Any]  # ids, positions -> the model's output


def open_backbone(model: Any) -> Run:
    """Passes of that model, whose attention is told which tokens belong together."""
    backbone = find_backbone(model)
    if getattr(model, "_supports_attention_backend", False):
        set_attention(model, NAME)

        def run(ids: Tensor, positions: Tensor, packing: Packing | Cached) -> Any:  # [1, tokens]
            return backbone(input_ids=ids, position_ids=positions, use_cache=False, packing=packing)

        return run
    set_attention(model, "sdpa")
    placeholder = make_placeholder(model.device)

    def run_own(ids: Tensor, positions: Tensor, packing: Packing | Cached) -> Any:  # [1, tokens]
        with OwnAttention(packing, placeholder):
            return backbone(
                input_ids=ids, position_ids=positions, use_cache=False, attention_mask=placeholder
            )

    return run_own


def run_sample(model: Any, run_backbone: Run) -> None:
    """A pass over five tokens, for what is to be seen on the way."""
    packing = Packing((5,), model.device)
    run_backbone(torch.arange(5, device=model.device)[None], packing.positions(), packing)


def find_backbone(model: Any) -> Any:
    """What gives the hidden states in front of the output layer; of several modalities, text's."""
    if model.config.get_text_config() is not model.config:
        return model.get_decoder()
    if model.base_model is not model:
        return model.base_model
    # llama4's prefix is that of its kin with a vision part
    return next(part for part in model.children() if isinstance(part, PreTrainedModel))


def find_own_attention(model: Any) -> str | None:
    """Why a model's attention cannot be told which tokens belong together; None: it can."""
    if getattr(model.config.get_text_config(), "alibi", False):
        return f"{type(model).__name__} adds slopes to its scores (ALiBi), which cannot be packed"
    is_known = getattr(model, "_supports_attention_backend", False)
    if is_known or getattr(model, "_supports_sdpa", False):
        return None
    return f"{type(model).__name__} computes attention in a way that cannot be packed"


def set_attention(model: Any, name: str) -> None:
    model.config._attn_implementation = name
    model.config.get_text_config()._attn_implementation = name
