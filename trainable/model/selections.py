"""Which of a model's linear layers a selection takes, told from their paths.

Selections: `all-linear`, `attention`, `ffn`, `qv`, or `regexp:<pattern>`, where the pattern must
match the *whole* path, case preserved (as peft reads a string `target_modules`). The output layer
is never selected. Attention and feed-forward are told apart by the block a layer lives in, not by
its own name: gpt_neox's `attention.dense` and `mlp.dense_h_to_4h` share a suffix.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from trainable.trial import ConfigError, Setting

SELECTIONS = ("all-linear", "attention", "ffn", "qv")
REGEXP_PREFIX = "regexp:"

# One component of the path, as llama, gpt_neox, falcon, mpt, qwen, opt and t5 spell it.
ATTENTION_BLOCK = re.compile(r"(^|\.)\w*(attn|[aA]ttention)\w*\.")
FFN_BLOCK = re.compile(r"(^|\.)(\w*mlp|ffn|feed_forward|DenseReluDense|block_sparse_moe)\.")
FFN_LEAF = re.compile(r"(^|\.)fc[12]$")  # opt has no block around them
QUERY_OR_VALUE = re.compile(r"\.(q|v|q_proj|v_proj|query|value)$")
FUSED_QKV = re.compile(r"\.(query_key_value|Wqkv|qkv_proj|c_attn)$")


def select_paths(paths: Sequence[str], selection: str) -> tuple[str, ...]:
    """Those of a model's linear layers' paths that the selection takes; never empty.

    `qv` takes the query and value projections. Where they are fused with the key into one layer
    (gpt_neox, falcon, mpt), it takes that whole layer: the paths returned say so.
    Raises ConfigError when the selection is unknown, does not compile or matches nothing."""
    chosen = tuple(path for path in paths if is_selected(path, selection))
    if not chosen:
        suffixes = ", ".join(dict.fromkeys(path.rsplit(".", 1)[-1] for path in paths)) or "none"
        raise ConfigError(
            f"lora_modules={selection!r} must match a linear layer of the model, and matches none: "
            f"their names end in {suffixes}; a pattern must match the whole path "
            f"({paths[0] if paths else '-'} is the first), such as ",
            Setting("lora_modules", "regexp:.*NAME"),
        )
    return chosen


def is_selected(path: str, selection: str) -> bool:
    """Whether the selection takes the layer at this path.

    >>> is_selected("gpt_neox.layers.0.attention.dense", "ffn")
    False
    >>> is_selected("gpt_neox.layers.0.attention.query_key_value", "qv")
    True
    """
    if selection.startswith(REGEXP_PREFIX):
        return compile_pattern(selection).fullmatch(path) is not None
    in_attention = ATTENTION_BLOCK.search(path) is not None
    match selection:
        case "all-linear":
            return True
        case "attention":
            return in_attention
        case "ffn":
            in_ffn = FFN_BLOCK.search(path) or FFN_LEAF.search(path)
            return in_ffn is not None and not in_attention
        case "qv":
            taken = QUERY_OR_VALUE.search(path) or FUSED_QKV.search(path)
            return taken is not None and in_attention
    raise unknown(selection)


def check_selection(selection: str) -> None:
    """Raises ConfigError when it is unknown, or a pattern that does not compile."""
    if selection.startswith(REGEXP_PREFIX):
        compile_pattern(selection)
    elif selection not in SELECTIONS:
        raise unknown(selection)


def unknown(selection: str) -> ConfigError:
    return ConfigError(
        f"lora_modules must be one of {', '.join(SELECTIONS)} or regexp:PATTERN, "
        f"not {selection!r} (",
        *(Setting("lora_modules"), ")"),
    )


def compile_pattern(selection: str) -> re.Pattern[str]:
    """The pattern of a `regexp:` selection. Raises ConfigError when it does not compile."""
    try:
        return re.compile(selection.removeprefix(REGEXP_PREFIX))
    except re.error as error:
        raise ConfigError(
            f"lora_modules={selection!r} must hold a regular expression, "
            f"and it does not compile: {error} (",
            *(Setting("lora_modules", "regexp:PATTERN"), ")"),
        ) from error
