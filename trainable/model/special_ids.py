"""The ids of a vocabulary that mean something to prompts and replies, by the tokenizer's rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainable.trial import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class SpecialIds:
    prefix: tuple[int, ...]  # in front of every sequence: BOS, where the model has one
    eos: int  # ends a reply
    pad: int  # fills masked positions, never equal to eos, always in the vocabulary
    openers: tuple[int, ...] = ()  # a placeholder begins with one of these: "[name]"

    def spell_bias(self, bias: float | None) -> list[list[list[int] | float]] | None:
        """transformers' `sequence_bias`, which adds so much to the scores of all openers; or None,
        which adds nothing."""
        return [[[opener], float(bias)] for opener in self.openers] if bias else None


def read_special_ids(tokenizer: PreTrainedTokenizerBase, base_model: str) -> SpecialIds:
    """Raises ConfigError where the tokenizer has no end-of-sequence token."""
    prefix, eos = read_borders(tokenizer, base_model)
    return SpecialIds(
        prefix=prefix, eos=eos, pad=pick_pad_id(tokenizer, eos), openers=find_openers(tokenizer)
    )


def read_borders(
    tokenizer: PreTrainedTokenizerBase, base_model: str
) -> tuple[tuple[int, ...], int]:
    """(tokens in front of every sequence, the token that ends a reply): what the tokenizer puts in
    front of a text, or else its BOS where that is not also its EOS."""
    eos_id, bos_id = tokenizer.eos_token_id, tokenizer.bos_token_id
    if eos_id is None:
        raise ConfigError(
            f"a base model needs an end-of-sequence token, and the tokenizer of {base_model!r} has "
            "none: set tokenizer.eos_token and save it (--set base_model=)"
        )
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    prefix = whole[: next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)]
    if not prefix and bos_id is not None and bos_id != eos_id:
        prefix = [bos_id]
    return tuple(prefix), int(eos_id)


def pick_pad_id(tokenizer: PreTrainedTokenizerBase, eos_id: int) -> int:
    """The tokenizer's pad token, unless it is missing, EOS or an addition to the vocabulary (some
    models have no row for it): then the first token that is not EOS. Masks tell padding apart, so
    the value decides nothing."""
    pad_id = tokenizer.pad_token_id
    if pad_id is None or pad_id == eos_id or pad_id >= tokenizer.vocab_size:
        pad_id = 1 if eos_id == 0 else 0
    return int(pad_id)


def find_openers(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The ids, below the additions to the vocabulary, whose text begins with a bracket."""
    ids = range(tokenizer.vocab_size)
    texts = tokenizer.batch_decode([[i] for i in ids])
    return tuple(i for i, text in zip(ids, texts, strict=True) if text.lstrip().startswith("["))
