"""How far a base model can count a token's position: a table of them ends, what is computed goes
on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from trainable.model.empty import build_empty
from trainable.model.modules import find_text_part
from trainable.model.sizes import POSITIONS
from trainable.model.source import explained, locate
from trainable.system.environment import trusts_remote_code
from trainable.trial import ConfigError, Setting, TrialConfig

TABLE = re.compile(r"(^|\.)(wpe|(?!rel)\w*pos(ition)?s?_?(emb|enc)\w*|embed_positions)$")


def count_made_for(config: Any) -> int | None:
    """Tokens that a model's configuration names; None: it names none."""
    sizes = config.get_text_config() if hasattr(config, "get_text_config") else config
    numbers = (getattr(sizes, name, None) for name in POSITIONS)
    return next((n for n in numbers if isinstance(n, int) and n > 0), None)


def count_positions(model: Any) -> int | None:
    """Rows of the model's shortest table of positions; None: it has none."""
    made_for = count_made_for(model.config)
    ends = list(list_tables(model))
    if model.config.model_type == "mpt" and made_for is not None:
        ends.append(made_for)  # its slopes are made for so many, at every pass
    return min(ends, default=None)


def list_tables(model: Any) -> Iterator[int]:
    """The positions of each: learnt, or sines that are made once (gptj, marian)."""
    within = find_text_part(model)
    for path, module in model.named_modules():
        if isinstance(module, nn.Embedding) and path.startswith(within) and TABLE.search(path):
            yield module.num_embeddings - count_before(module)
    for path, buffer in model.named_buffers():
        is_table = buffer.ndim == 2 and buffer.is_floating_point()
        if is_table and path.startswith(within) and TABLE.search(path):
            yield len(buffer)


def count_before(table: Any) -> int:
    """Its rows in front of the first token's: OPT's and BART's by their own count, RoBERTa's behind
    the row of the padding."""
    padding = -1 if table.padding_idx is None else table.padding_idx
    return int(getattr(table, "offset", padding + 1))


def check_window(config: TrialConfig, positions: int | None) -> None:
    """Raises ConfigError where the longest dialogues of a trial have more tokens than that."""
    if positions is not None and config.max_length_tokens > positions:
        raise ConfigError(
            f"max_length_tokens={config.max_length_tokens} must be within the table of {positions} "
            f"positions of {config.base_model}: give ",
            Setting("max_length_tokens", str(positions)),
        )


def check_replies(
    config: TrialConfig, prompts_tokens: Sequence[int], positions: int | None
) -> None:
    """Raises ConfigError where the table has no room for a reply to the longest prompt."""
    longest = max(prompts_tokens, default=0)
    if positions is not None and longest + config.max_new_tokens > positions:
        fits = positions - config.max_new_tokens
        raise ConfigError(
            f"a prompt of {longest} tokens and max_new_tokens={config.max_new_tokens} must be "
            f"within the table of {positions} positions of {config.base_model}: give ",
            Setting("max_length_tokens", str(fits)),
        )


def check_positions(config: TrialConfig) -> str | None:
    """The same without the model's weights. A note where positions are computed beyond those that
    it was made for."""
    from transformers import AutoConfig

    source = locate(config.base_model)
    with explained(config.base_model):
        trust = trusts_remote_code()
        sizes = AutoConfig.from_pretrained(source.name, trust_remote_code=trust)
        made_for = count_made_for(sizes)
        if made_for is None or config.max_length_tokens <= made_for:
            return None
    check_window(config, count_positions(build_empty(config.base_model)))
    return (
        f"{config.base_model} was made for {made_for} positions, and dialogues may have "
        f"max_length_tokens={config.max_length_tokens}: those beyond are computed, and were never "
        f"trained: max_length_tokens={made_for} has none"
    )


def forget_lengths(model: nn.Module) -> None:
    """Makes every pass of dynamic rotary positions as long as its own tokens: transformers keeps
    the frequencies of the longest pass so far."""
    for module in model.modules():
        if "dynamic" in str(getattr(module, "rope_type", "")) and hasattr(module, "inv_freq"):
            module.register_forward_pre_hook(forget_length)


def forget_length(module: Any, inputs: Any) -> None:
    module.max_seq_len_cached = module.original_max_seq_len
    module.inv_freq = module.original_inv_freq.to(module.inv_freq.device)
