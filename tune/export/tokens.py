"""The base's tokenizer with the engine's reading of its borders, and validation text in its ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trainable.corpus.encode import SpecialTokens, Window, encode, find_special
from trainable.corpus.load import load_corpus
from trainable.corpus.prompt import cut_plan
from trainable.corpus.subset import validation_subset
from trainable.model.special_ids import SpecialIds, decode_reply, read_special_ids
from trainable.trial import TrialConfig

if TYPE_CHECKING:
    from transformers import GenerationConfig


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """A trial's tokenizer, and how its replies are read."""

    tokenizer: Any
    special: SpecialIds
    config: TrialConfig  # whose texts they are

    def read_reply(self, ids: Sequence[int]) -> str:
        """The text of a reply, without its plan."""
        return cut_plan(decode_reply(self.tokenizer, ids, self.special.spoken), self.config)


def load_tokens(config: TrialConfig) -> Tokens:
    """Raises ConfigError where the base model is not there."""
    from trainable.model.base import BaseSpec, load_tokenizer
    from trainable.model.source import explained

    spec = BaseSpec(base_model=config.base_model, quantisation="fp32")
    with explained(config.base_model):
        tokenizer = load_tokenizer(spec)
    special = read_special_ids(tokenizer, config.base_model)
    return Tokens(tokenizer=tokenizer, special=special, config=config)


def read_special(config: TrialConfig, tokens: Tokens) -> SpecialTokens:
    return find_special(config, tokens.tokenizer, tokens.special.prefix, tokens.special.eos)


def encode_dialogues(config: TrialConfig, tokens: Tokens, split: str, n: int) -> list[Window]:
    """The first `n` dialogues of a split's fixed order, as the engine reads them at validation."""
    corpus = load_corpus(config.corpus)
    return encode(
        validation_subset(corpus.get_split(split), n),
        replace(config, format="dialogues"),
        corpus.database,
        lambda texts: list(tokens.tokenizer(texts, add_special_tokens=False)["input_ids"]),
        read_special(config, tokens),
    )


def spell_generation(config: TrialConfig, tokens: Tokens) -> GenerationConfig:
    """generation_config.json: the trial's decoding as transformers spells it. What the trial left
    out is switched off, not left to a default."""
    from transformers import GenerationConfig

    from trainable.solo.generate import spell_shaping

    values: dict[str, Any] = {
        **spell_shaping(config, replace(tokens.special, eos=read_special(config, tokens).eos)),
        "do_sample": config.decoding == "sampling",
        "num_beams": config.num_beams or 1,
    }
    match config.decoding:
        case "sampling":
            values["temperature"] = config.temperature or 1.0
            values["top_k"] = config.top_k or 0
            values["top_p"] = config.top_p or 1.0
            values["typical_p"] = config.typical_p or 1.0
        case "beam":
            values["length_penalty"] = config.length_penalty
        case "contrastive":
            values |= {"penalty_alpha": config.penalty_alpha, "top_k": config.top_k}
    return GenerationConfig(**{name: v for name, v in values.items() if v is not None})
