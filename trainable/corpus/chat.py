"""A base model's own chat template, as what stands between the words of a dialogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from trainable.trial import ConfigError

ASKED, SAID, ASKED_AGAIN = "~asked~", "~said~", "~asked again~"  # no template writes these


@dataclass(frozen=True, slots=True)
class Chat:
    """The template without its words. A reply is closed by the end-of-sequence token."""

    head: str  # in front of every window: the system's part
    first: str  # in front of the first user's words
    later: str  # in front of every other user's
    reply: str  # between the user's words and the system's, as far as a prompt goes
    lead: str  # the rest of it, learnt with the reply: a space, or nothing


def read_chat(tokenizer: Any, instruction: str | None, prefix: str) -> Chat:
    """The template of a tokenizer, with the instruction as the system's part; `prefix` is what
    every sequence begins with anyway. Raises ConfigError where there is no template, or none that
    writes every exchange alike."""
    if not tokenizer.chat_template:
        raise ConfigError(
            "layout=chat needs a base model with a chat template, and this one's tokenizer has "
            "none: take an instruction-tuned model (--set base_model=), or --set layout=lines"
        )
    system = [{"role": "system", "content": instruction}] if instruction else []
    messages = [*system, *_spell(ASKED, SAID, ASKED_AGAIN, SAID)]
    opening, reply, later = _cut(_apply(tokenizer, messages, False), ASKED, SAID, ASKED_AGAIN)
    asked = _apply(tokenizer, messages[:-1], True).removeprefix(prefix)
    prompt = asked.rpartition(ASKED_AGAIN)[2]
    closing = tokenizer.eos_token
    if not later.startswith(closing):
        raise ConfigError(
            f"layout=chat needs a template that closes a reply with {closing!r}, the tokenizer's "
            f"end of sequence, and this one goes on with {later[:20]!r}: give --set layout=lines"
        )
    later, opening = later.removeprefix(closing), opening.removeprefix(prefix)
    common = _find_common_end(opening, later)
    head, lead = opening.removesuffix(common), reply.removeprefix(prompt)
    chat = Chat(head, common, later, prompt, lead)
    if asked != _write(chat, closing):
        raise ConfigError(
            "layout=chat needs a template that writes every exchange alike, and that of this base "
            "model does not: give --set layout=lines"
        )
    return chat


def _spell(*texts: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]


def _apply(tokenizer: Any, messages: list[Mapping[str, str]] | Any, asks: bool) -> str:
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=asks
        )
    except TemplateError as error:
        raise ConfigError(
            f"the base model's chat template does not take this dialogue ({error}): leave the "
            "instruction out, or give --set layout=lines"
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


def _write(chat: Chat, closing: str) -> str:
    """Two exchanges, the second reply to come."""
    exchange = f"{ASKED}{chat.reply}{chat.lead}{SAID}{closing}"
    return f"{chat.head}{chat.first}{exchange}{chat.later}{ASKED_AGAIN}{chat.reply}"
