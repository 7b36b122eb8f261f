"""How messages become the text that the trial was trained on: as Jinja for llama.cpp, as Go's
templates for Ollama."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from trainable.corpus.chat import TOLD, Chat
from trainable.trial import TrialConfig


def spell_jinja(config: TrialConfig, tokenizer: Any, chat: Chat | None, end: str) -> str | None:
    """The base's own template where it was used, else one that writes lines; None where a reply
    takes two steps, which no template can ask for."""
    if chat is not None:
        template: str = tokenizer.chat_template
        return template
    if config.target != "response":
        return None
    head = f"{{{{ {quote(config.instruction)} }}}}" if config.instruction else ""
    return (
        f"{head}{{% for m in messages %}}"
        "{% if m['role'] == 'system' %}{{ m['content'] + '\\n' }}"
        "{% elif m['role'] == 'user' %}{{ 'user> ' + m['content'] + '\\nbot>' }}"
        f"{{% else %}}{{{{ ' ' + m['content'] + {quote(end)} }}}}{{% endif %}}"
        "{% endfor %}"
    )


def spell_go(config: TrialConfig, chat: Chat | None, end: str) -> str:
    """Ollama's TEMPLATE of the same text."""
    if config.target != "response":
        return "{{ .Prompt }}"
    if chat is None:
        begin = f"{config.instruction}\n" if config.instruction else ""
        return join(begin, "{{ .System }}\n", ("user> ", "\nbot>"), (" ", f"{end}\n"))
    own = chat.told or chat
    between = chat.later.removesuffix(chat.first)
    system = f"{own.head}{own.first}".removesuffix(chat.first).replace(TOLD, "{{ .System }}")
    return join(
        chat.begin,
        system,
        (chat.first, chat.reply),
        (chat.lead, f"{chat.tail}{chat.end}{between}"),
        chat.head,
    )


def quote(line: str) -> str:
    """The line as a string of Jinja."""
    return json.dumps(f"{line}\n", ensure_ascii=False)


def join(
    begin: str, system: str, user: Sequence[str], own: Sequence[str], no_system: str = ""
) -> str:
    """What stands around the system's words, the user's and the model's own."""
    otherwise = f"{{{{ else }}}}{no_system}" if no_system else ""
    return (
        f"{begin}{{{{ if .System }}}}{system}{otherwise}{{{{ end }}}}"
        "{{ range .Messages }}"
        f'{{{{ if eq .Role "user" }}}}{user[0]}{{{{ .Content }}}}{user[1]}'
        f'{{{{ else if eq .Role "assistant" }}}}{own[0]}{{{{ .Content }}}}{own[1]}'
        "{{ end }}{{ end }}"
    )
