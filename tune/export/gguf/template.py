"""How messages become the text that the trial was trained on: as Jinja for llama.cpp, as Go's
templates for Ollama."""

import json
import re
from collections.abc import Sequence
from typing import Any

from trainable.corpus.chat import TOLD, Chat
from trainable.corpus.prompt import finds_state, spell_opening
from trainable.trial import TrialConfig

# before a reply, unless it came with one: a model's own first word brings it along
SPACE = '{{ if not (and .Content (eq (slice .Content 0 1) " ")) }} {{ end }}'
ODD = re.compile(r'(\{\{|"{3,}|[^\n\t -~]+)')


def spell_jinja(config: TrialConfig, tokenizer: Any, chat: Chat | None, end: str) -> str | None:
    """The base's own template where it was used, else one that writes lines; None where a reply
    takes two steps, which no template can ask for."""
    if chat is not None:
        template: str = tokenizer.chat_template
        return template
    if finds_state(config):
        return None
    head = f"{{{{ {quote(config.instruction)} }}}}" if config.instruction else ""
    opening = spell_opening(config)
    return (
        f"{head}{{% for m in messages %}}"
        "{% if m['role'] == 'system' %}{{ m['content'] + '\\n' }}"
        f"{{% elif m['role'] == 'user' %}}{{{{ 'user> ' + m['content'] + '\\n{opening}' }}}}"
        f"{{% else %}}{{{{ ' ' + (m['content'] | trim) + {quote(end)} }}}}{{% endif %}}"
        "{% endfor %}"
    )


def spell_go(config: TrialConfig, chat: Chat | None, end: str) -> str:
    """Ollama's TEMPLATE of the same text."""
    if finds_state(config):
        return "{{ .Prompt }}"
    if chat is None:
        begin = literal(f"{config.instruction}\n") if config.instruction else ""
        user = ("user> ", f"\n{spell_opening(config)}")
        return join(begin, "{{ .System }}\n", user, (SPACE, literal(f"{end}\n")))
    own = chat.told or chat
    between = chat.later.removesuffix(chat.first)
    system = f"{own.head}{own.first}".removesuffix(chat.first)
    lead = SPACE if chat.lead == " " else literal(chat.lead)
    return join(
        literal(chat.begin),
        "{{ .System }}".join(map(literal, system.split(TOLD))),
        (literal(chat.first), literal(chat.reply)),
        (lead, literal(f"{chat.tail}{chat.end}{between}")),
        literal(chat.head),
    )


def literal(text: str) -> str:
    """The text as it is, for Go's templates between a Modelfile's quotation marks: what would begin
    an action, end the quotation or be dropped by the Modelfile's reader stands as a string.

    >>> print(literal('say {{ and nothing else'))
    say {{ "\\u007b\\u007b" }} and nothing else
    """
    return "".join(part if is_plain(part) else quote_go(part) for part in ODD.split(text))


def is_plain(part: str) -> bool:
    return not ODD.fullmatch(part) or (part.isprintable() and not part.isascii())


def quote_go(part: str) -> str:
    codes = (ord(sign) for sign in part)
    signs = (f"\\u{code:04x}" if code < 2**16 else f"\\U{code:08x}" for code in codes)
    return f'{{{{ "{"".join(signs)}" }}}}'


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
