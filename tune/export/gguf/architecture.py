"""What llama.cpp knows of a base model's architecture, and how it differs from transformers there.

Each entry is held to llama.cpp itself (`tests/export/test_gguf.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trainable.trial import ConfigError, nearest


@dataclass(frozen=True, kw_only=True)
class Architecture:
    name: str  # llama.cpp's
    interleaves_rope: bool = False  # a head's rotated pairs stand side by side, not halves apart
    adds_one_to_norms: bool = False  # transformers stores a norm's weight less 1
    has_windows: bool = False  # layers that see the last tokens alone are computed as such
    scales_by_head: bool = False  # attention is divided by the root of a head's size alone


# by transformers' model_type
ARCHITECTURES = {
    "llama": Architecture(name="llama", interleaves_rope=True),
    "mistral": Architecture(name="llama", interleaves_rope=True),
    "qwen2": Architecture(name="qwen2"),
    "qwen3": Architecture(name="qwen3"),
    "phi3": Architecture(name="phi3"),
    "gemma2": Architecture(
        name="gemma2", adds_one_to_norms=True, has_windows=True, scales_by_head=True
    ),
    "gemma3_text": Architecture(
        name="gemma3", adds_one_to_norms=True, has_windows=True, scales_by_head=True
    ),
}
ROPES = ("default", "linear", "llama3")
GEMMA3_PERIOD = 6  # every sixth layer sees all tokens: llama.cpp takes no other order
GEMMA2_PERIOD = 2


def find_architecture(config: Any, longest_tokens: int) -> Architecture:
    """Of a model's configuration, for sequences up to that length. Raises ConfigError where
    llama.cpp would compute something else, or nothing."""
    found = ARCHITECTURES.get(config.model_type)
    if found is None:
        raise ConfigError(
            f"--gguf writes {', '.join(ARCHITECTURES)}, and the base model is of the architecture "
            f"{config.model_type}{nearest(config.model_type, ARCHITECTURES)}: export it with "
            "--merged, and convert that folder by llama.cpp's convert_hf_to_gguf.py"
        )
    for rule, is_met in list_rules(config, found, longest_tokens):
        if not is_met(config):
            raise ConfigError(
                f"--gguf cannot write this {config.model_type} model so that llama.cpp computes "
                f"the same: {rule}; export it with --merged"
            )
    return found


Rule = tuple[str, Callable[[Any], bool]]


def list_rules(config: Any, architecture: Architecture, longest_tokens: int) -> list[Rule]:
    """(what is wrong where it is not met, whether it is met)."""
    rules: list[Rule] = [
        (
            f"its positions must be of the type {' or '.join(ROPES)}",
            lambda c: all(r.get("rope_type", "default") in ROPES for r in list_ropes(c)),
        ),
        (
            "its feed-forward layers must be gated by SiLU or GELU",
            lambda c: spell_activation(c) in ("silu", "gelu_pytorch_tanh"),
        ),
    ]
    if not architecture.has_windows:
        rules.append(
            (
                f"each layer must see all {longest_tokens} tokens",
                lambda c: read_window(c) >= longest_tokens,
            )
        )
    elif (types := getattr(config, "layer_types", None)) is not None:
        period = GEMMA3_PERIOD if architecture.name == "gemma3" else GEMMA2_PERIOD
        rules.append(
            (
                f"each {period}th of its layers, and no other, must see all tokens",
                lambda c: (
                    [t == "full_attention" for t in types]
                    == [(i + 1) % period == 0 for i in range(len(types))]
                ),
            )
        )
    if architecture.scales_by_head:
        rules.append(
            (
                "query_pre_attn_scalar must be head_dim",
                lambda c: c.query_pre_attn_scalar == c.head_dim,
            )
        )
    return rules


def spell_activation(config: Any) -> str:
    return str(getattr(config, "hidden_activation", None) or config.hidden_act)


def read_window(config: Any) -> int | float:
    """The least number of tokens that a layer sees; infinite where all do."""
    uses = getattr(config, "use_sliding_window", True)
    window = getattr(config, "sliding_window", None) if uses else None
    return float("inf") if window is None else int(window)


def list_ropes(config: Any) -> list[dict[str, Any]]:
    """How positions are spelt: for all layers, or for each of their types."""
    told: dict[str, Any] = config.rope_parameters
    return [told] if "rope_theta" in told else [r for r in told.values() if isinstance(r, dict)]


def main_rope(config: Any) -> dict[str, Any]:
    """That of the layers which see all tokens."""
    told: dict[str, Any] = config.rope_parameters
    return dict(told if "rope_theta" in told else told["full_attention"])
