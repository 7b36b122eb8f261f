"""A base model's own chat template, as what stands between the words of a dialogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from trainable.corpus.messages import alternate
from trainable.trial import ConfigError, Setting

# no template writes these
ASKED, SAID, ASKED_AGAIN, TOLD = "~asked~", "~said~", "~asked again~", "~told~"


@dataclass(frozen=True, slots=True)
class Chat:
    """The template without its words."""

    begin: str  # what every sequence begins with (BOS), where the template writes it; or nothing
    head: str  # in front of every window: the system's part
    first: str  # in front of the first user's words
    later: str  # in front of every other user's
    reply: str  # between the user's words and the system's, as far as a prompt goes
    lead: str  # the rest of it, learnt with the reply: a space, or nothing
    tail: str  # between the system's words and the token that ends a reply: a space, or nothing
    end: str  # that token: the end of the sequence, or of a turn
    # the same where the dialogue has a system message, which stands in its head as TOLD; None: the
    # template takes none, and it stands in front of the first user's words
    told: Chat | None = None


def read_chat(tokenizer: Any, instruction: str | None, prefix: str) -> Chat:
    """The template of a tokenizer, with the instruction as the system's part; `prefix` is what
    every sequence begins with anyway. Raises ConfigError where there is no template, or none that
    writes every exchange alike."""
    if not tokenizer.chat_template:
        raise ConfigError(
            "layout=chat needs a base model with a chat template, and this one's tokenizer has "
            "none: take an instruction-tuned model (",
            *(Setting("base_model"), "), or give ", Setting("layout", "lines")),
        )
    plain = _read(tokenizer, instruction, prefix)
    try:
        told = _read(tokenizer, f"{instruction}\n{TOLD}" if instruction else TOLD, prefix)
    except ConfigError:
        told = None
    takes_system = told is not None and told.head.count(TOLD) == 1
    return replace(plain, told=told if takes_system else None)


def _read(tokenizer: Any, system: str | None, prefix: str) -> Chat:
    told = [{"role": "system", "content": system}] if system else []
    messages = [*told, *alternate([ASKED, SAID, ASKED_AGAIN, SAID])]
    whole = _apply(tokenizer, messages, False)
    opening, reply, later = _cut(whole, ASKED, SAID, ASKED_AGAIN)
    asked = _apply(tokenizer, messages[:-1], True).removeprefix(prefix)
    prompt = asked.rpartition(ASKED_AGAIN)[2]
    tail, end = find_end(tokenizer, later, whole.rpartition(SAID)[2])
    begin = prefix if opening.startswith(prefix) else ""
    later, opening = later.removeprefix(tail + end), opening.removeprefix(begin)
    common = _find_common_end(opening, later)
    chat = Chat(
        begin=begin,
        head=opening.removesuffix(common),
        first=common,
        later=later,
        reply=prompt,
        lead=reply.removeprefix(prompt),
        tail=tail,
        end=end,
    )
    if asked != _write(chat):
        raise ConfigError(
            "layout=chat needs a template that writes every exchange alike, and that of this base "
            "model does not: give ",
            Setting("layout", "lines"),
        )
    return chat


def find_end(tokenizer: Any, following: str, last: str) -> tuple[str, str]:
    """(blanks, token) that close a reply: the special or added token that stands behind it,
    `</s>`, `<end_of_turn>` (Gemma) or `<|end|>` (Phi-3), whether another turn follows or it is the
    `last`. Raises ConfigError where there is none."""
    whole = {*tokenizer.all_special_tokens, *map(str, tokenizer.get_added_vocab())} - {""}
    blanks = following[: len(following) - len(following.lstrip())]
    ends = [t for t in whole if following.startswith(blanks + t) and last.startswith(blanks + t)]
    if not ends:
        raise ConfigError(
            "layout=chat needs a template that closes a reply with a token of its own, as the "
            f"tokenizer's end of sequence ({tokenizer.eos_token!r}), and this one goes on with "
            f"{following[:20]!r}: give ",
            Setting("layout", "lines"),
        )
    return blanks, max(ends, key=len)


def _apply(tokenizer: Any, messages: list[Mapping[str, str]] | Any, asks: bool) -> str:
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=asks
        )
    except TemplateError as error:
        raise ConfigError(
            f"the base model's chat template does not take this dialogue ({error}): leave the "
            "instruction out, or give ",
            Setting("layout", "lines"),
        ) from error
    return text


def _cut(text: str, *words: str) -> list[str]:
    """What stands in front of each word."""
    parts = []
    for word in words:
        part, _, text = text.partition(word)
        parts.append(part)
    return parts


def _find_common_end(one: str, other: str) -> str:
    pairs = zip(reversed(one), reversed(other), strict=False)
    length = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return one[len(one) - length :]


def _write(chat: Chat) -> str:
    """Two exchanges, the second reply to come."""
    exchange = f"{ASKED}{chat.reply}{chat.lead}{SAID}{chat.tail}{chat.end}"
    return f"{chat.head}{chat.first}{exchange}{chat.later}{ASKED_AGAIN}{chat.reply}"
