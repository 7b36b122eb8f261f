"""A model's sizes and constants, as llama.cpp reads them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tune.export.gguf.architecture import Architecture, main_rope

if TYPE_CHECKING:
    from gguf import GGUFWriter

ROPE_FACTORS = "rope_freqs.weight"  # what llama.cpp divides each pair's frequency by


def add_hyperparameters(writer: GGUFWriter, config: Any, architecture: Architecture) -> None:
    head = head_size(config)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    add_rope(writer, config, head)
    if architecture.has_windows and config.sliding_window:
        writer.add_sliding_window(config.sliding_window)
    if (cap := getattr(config, "attn_logit_softcapping", None)) is not None:
        writer.add_attn_logit_softcapping(cap)
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        writer.add_final_logit_softcapping(cap)


def add_rope(writer: GGUFWriter, config: Any, head: int) -> None:
    from gguf import RopeScalingType

    rope = main_rope(config)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(int(head * (rope.get("partial_rotary_factor") or 1.0)))
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def head_size(config: Any) -> int:
    return int(
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )


def spell_rope_factors(config: Any) -> NDArray[np.float32] | None:
    """Llama 3's: long waves are stretched by `factor`, short ones left, those between blended
    (as in transformers' `_compute_llama3_parameters`); None where positions are plain."""
    rope = main_rope(config)
    if rope.get("rope_type") != "llama3":
        return None
    size = head_size(config)
    waves = 2 * math.pi * rope["rope_theta"] ** (np.arange(0, size, 2) / size)
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    blend = (rope["original_max_position_embeddings"] / waves - low) / (high - low)
    return (1 / ((1 - blend.clip(0, 1)) / factor + blend.clip(0, 1))).astype(np.float32)
