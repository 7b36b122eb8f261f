"""How large a base model is, told without loading it: from the headers of its weights' files where
they are here, else from config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainable.model.packable import read_shape
from trainable.model.ranks import choose_ranks
from trainable.model.source import OUTSIDE, list_weight_files, locate, open_headers
from trainable.trial import ConfigError, TrialConfig

# what a configuration calls the positions that it was made for
POSITIONS = (
    *("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length"),
    "max_decoder_position_embeddings",
)

Shape = tuple[int, int]  # of a linear layer's weights: out, in
# model types whose feed-forward block has two matrices; the others' has a gate besides
UNGATED = frozenset(
    {"gpt_neox", "gpt2", "gpt_neo", "gptj", "opt", "bloom", "falcon", "mpt", "phi", "codegen"}
    | {"t5", "mt5"}
)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    total_params: int
    layers: Mapping[str, Shape]  # linear layers' paths, embeddings and the output layer left out
    expert_params: int = 0  # of stacked experts, which are no linear layers

    def count_adapter(self, config: TrialConfig) -> int:
        """Parameters of a trial's adapter; of one on all layers, where a selection fits none of the
        paths as they are known here."""
        try:
            ranks = choose_ranks(config, tuple(self.layers))
        except ConfigError:
            ranks = dict.fromkeys(self.layers, config.lora_rank or 1)
        return sum(rank * sum(self.layers[path]) for path, rank in ranks.items())


def read_sizes(base_model: str) -> Sizes:
    """Raises ConfigError where neither weights nor config.json can be had."""
    shape = read_shape(base_model)
    if is_mixture(shape):
        return measure_mixture(base_model, json.dumps(shape, sort_keys=True, default=str))
    if files := list_weight_files(base_model):
        shapes = open_headers(base_model, files)
        matrices = {n.removesuffix(".weight"): s for n, s in shapes.items() if len(s) == 2}
        return Sizes(
            total_params=sum(_multiply(shape) for shape in shapes.values()),
            layers={n: (s[0], s[1]) for n, s in matrices.items() if not OUTSIDE.search(n)},
        )
    if locate(base_model).gguf_file is not None:
        size = sum(p.stat().st_size for p in Path(base_model).expanduser().glob("*.gguf"))
        return Sizes(total_params=2 * size, layers={})  # about four bits each
    return spell_sizes(shape)


def is_mixture(config: Mapping[str, Any]) -> bool:
    """Of experts, told from config.json.

    >>> is_mixture({"num_local_experts": 8}), is_mixture({"num_experts": 1}), is_mixture({})
    (True, False, False)
    """
    numbers = (value for name, value in config.items() if name.endswith("experts"))
    return any(isinstance(value, int) and value > 1 for value in numbers)


@lru_cache(maxsize=4)
def measure_mixture(base_model: str, config: str) -> Sizes:
    """By transformers' own layers: files of experts have them one by one, models stacked in one.
    Kept as long as its config.json says the same, for a plan asks once a trial."""
    from trainable.model.empty import build_empty, count_experts
    from trainable.model.modules import list_linear_paths

    model = build_empty(base_model)
    weights = {path: model.get_submodule(path).weight for path in list_linear_paths(model)}
    return Sizes(
        total_params=sum(parameter.numel() for parameter in model.parameters()),
        layers={path: (weight.shape[0], weight.shape[1]) for path, weight in weights.items()},
        expert_params=count_experts(model),
    )


def spell_sizes(config: Mapping[str, Any]) -> Sizes:
    """What config.json says, under llama's names.

    >>> llama = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}
    >>> llama |= {"num_attention_heads": 32, "vocab_size": 32000, "model_type": "llama"}
    >>> round(spell_sizes(llama).total_params / 1e9, 2)
    6.74
    """
    width = _first(config, "hidden_size", "d_model", "n_embd")
    inner = _first(config, "intermediate_size", "d_ff", "n_inner", "ffn_dim") or 4 * width
    heads = _first(config, "num_attention_heads", "num_heads", "n_head") or 1
    head = _first(config, "head_dim", "d_kv") or width // heads
    narrow = (_first(config, "num_key_value_heads") or heads) * head
    attention = {
        "q_proj": (heads * head, width),
        "k_proj": (narrow, width),
        "v_proj": (narrow, width),
        "o_proj": (width, heads * head),
    }
    block = {f"self_attn.{n}": s for n, s in attention.items()}
    is_gated = config.get("model_type") not in UNGATED
    if is_gated or "gated" in config.get("feed_forward_proj", ""):  # newer T5 have one
        block["mlp.gate_proj"] = (inner, width)
    block |= {"mlp.up_proj": (inner, width), "mlp.down_proj": (width, inner)}
    depth = _first(config, "num_hidden_layers", "num_layers", "n_layer")
    layers = {f"layers.{i}.{n}": s for i in range(depth) for n, s in block.items()}
    if config.get("is_encoder_decoder"):
        across = {f"cross_attn.{n}": s for n, s in attention.items()}
        n_decoder = _first(config, "num_decoder_layers") or depth
        both = {**block, **across}
        layers |= {f"decoder.{i}.{n}": s for i in range(n_decoder) for n, s in both.items()}
    tables = 1 if config.get("tie_word_embeddings") else 2
    words = tables * _first(config, "vocab_size") * width
    return Sizes(total_params=words + sum(map(_multiply, layers.values())), layers=layers)


def _first(config: Mapping[str, Any], *names: str) -> int:
    return next((int(config[name]) for name in names if config.get(name)), 0)


def _multiply(shape: tuple[int, ...]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


def names_positions(base_model: str, tokens: int) -> bool:
    """Whether its config.json says that it was made for so many, which asks for no import of
    transformers (five seconds of a sweep's start)."""
    shape = read_shape(base_model)
    sizes = {**shape, **(shape.get("text_config") or {})}
    numbers = [sizes[name] for name in POSITIONS if isinstance(sizes.get(name), int)]
    return bool(numbers) and numbers[0] >= tokens
