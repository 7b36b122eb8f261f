"""The ids of a vocabulary that mean something to prompts and replies, by the tokenizer's rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainable.dialogue.slots import is_known
from trainable.trial import ConfigError, Setting

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class SpecialIds:
    """The ids of a tokenizer that stand at a text's borders or open a placeholder."""

    prefix: tuple[int, ...]  # in front of every sequence: BOS, where the tokenizer adds one
    eos: int  # ends a reply
    pad: int  # fills masked positions, never equal to eos, always in the vocabulary
    openers: tuple[int, ...] = ()  # a placeholder begins with one of these: "[name]"
    spoken: tuple[int, ...] = ()  # special tokens that are placeholders: a reply's text keeps them

    def spell_bias(self, bias: float | None) -> list[list[list[int] | float]] | None:
        """transformers' `sequence_bias`, which adds so much to the scores of all openers; or None,
        which adds nothing."""
        return [[[opener], float(bias)] for opener in self.openers] if bias else None


def read_special_ids(tokenizer: PreTrainedTokenizerBase, base_model: str) -> SpecialIds:
    """Raises ConfigError where the tokenizer has no end-of-sequence token."""
    prefix, eos = read_borders(tokenizer, base_model)
    return SpecialIds(
        prefix=prefix,
        eos=eos,
        pad=pick_pad_id(tokenizer, eos),
        openers=find_openers(tokenizer),
        spoken=find_spoken(tokenizer),
    )


def read_borders(
    tokenizer: PreTrainedTokenizerBase, base_model: str
) -> tuple[tuple[int, ...], int]:
    """(tokens in front of every sequence, the token that ends a reply). In front stands what the
    tokenizer itself puts there: Qwen and SmolLM know a BOS that their models never began with."""
    eos_id = tokenizer.eos_token_id
    if eos_id is None:
        raise ConfigError(
            f"a base model needs an end-of-sequence token, and the tokenizer of {base_model!r} has "
            "none: set tokenizer.eos_token and save it (",
            *(Setting("base_model"), ")"),
        )
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    prefix = whole[: next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)]
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
    """The ids whose text begins with a bracket; of whole tokens that were added to the vocabulary,
    or are special, those alone that are placeholders (Mistral has an `[INST]`)."""
    ids = range(len(tokenizer))
    texts = tokenizer.batch_decode([[i] for i in ids])
    whole = {*tokenizer.added_tokens_decoder, *tokenizer.all_special_ids}
    return tuple(
        i
        for i, text in zip(ids, texts, strict=True)
        if (is_placeholder(text) if i in whole else text.lstrip().startswith("["))
    )


def find_spoken(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The special tokens that are placeholders."""
    return tuple(i for i in tokenizer.all_special_ids if is_placeholder(str(tokenizer.decode([i]))))


def is_placeholder(text: str) -> bool:
    """Whether a text is a slot in brackets.

    >>> is_placeholder(" [hotel_name]"), is_placeholder("[INST]")
    (True, False)
    """
    text = text.strip()
    return text.startswith("[") and text.endswith("]") and is_known(text[1:-1])


def cut_at(reply: list[int], eos_id: int) -> list[int]:
    """The reply up to its end.

    >>> cut_at([5, 6, 2, 9], eos_id=2)
    [5, 6]
    """
    return reply[: reply.index(eos_id)] if eos_id in reply else reply


def decode_reply(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], spoken: Sequence[int]
) -> str:
    """The text of a reply, without special tokens other than placeholders."""
    silent = set(list_silent(tokenizer, spoken))
    if not silent:
        return str(tokenizer.decode([*ids], skip_special_tokens=True)).strip()
    return str(tokenizer.decode([i for i in ids if i not in silent])).strip()


def list_silent(tokenizer: PreTrainedTokenizerBase, spoken: Sequence[int]) -> tuple[int, ...]:
    """The special tokens that a reply's text leaves out, where others are placeholders; empty: all
    of them, as a tokenizer's own `skip_special_tokens` does."""
    return tuple(sorted({*tokenizer.all_special_ids} - {*spoken})) if spoken else ()


def check_rows(special: SpecialIds, rows: int, base_model: str) -> None:
    """Raises ConfigError where placeholders are tokens that the model has no rows for."""
    beyond = [i for i in special.openers if i >= rows]
    if beyond:
        raise ConfigError(
            f"a base model needs a row for every placeholder of its tokenizer, and {base_model!r} "
            f"has {rows} rows and a placeholder with the id {beyond[0]}: call "
            "model.resize_token_embeddings(len(tokenizer)) and save it (",
            *(Setting("base_model"), ")"),
        )


def check_ids(ids: Iterable[int], rows: int, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises ConfigError where a text's tokens are some that the model has no rows for."""
    highest = max(ids, default=0)
    if highest >= rows:
        raise ConfigError(
            f"a base model needs a row for every token of its tokenizer, which writes "
            f"{tokenizer.decode([highest])!r} as {highest}, and the model has {rows} rows: call "
            "model.resize_token_embeddings(len(tokenizer)) and save it (",
            *(Setting("base_model"), ")"),
        )
