"""What an error says to do, in the flags of the command that failed: a fault of a corpus, an
adapter or a model is found below all commands, and each has other flags for it."""

from __future__ import annotations

import re
from collections.abc import Collection

SET = "--set"
FIELDS = ("adapter", "base_model", "corpus")  # that some commands have flags of their own for
PAIR = re.compile(r"(--[a-z-]+), --set (\w+)=")  # one of them is the command's
SETTING = re.compile(r"(?<!tune\.run )--set(?: (\w+)=(?=(\w?)))?")


def fit_flags(message: str, known: Collection[str]) -> str:
    """The message with the flags of a command that knows those.

    >>> fit_flags("give another (--set adapter=FOLDER)", ["--adapter"])
    'give another (--adapter FOLDER)'
    >>> fit_flags("give --corpus a folder", ["--set"])
    'give --set corpus= a folder'
    >>> fit_flags("no such model (--base-model, --set base_model=)", ["--out"])
    'no such model (tune.run --set base_model=)'
    """
    message = PAIR.sub(lambda m: m[1] if m[1] in known else f"{SET} {m[2]}=", message)
    for flag, field in ((spell_flag(field), field) for field in FIELDS):
        if flag not in known:
            message = re.sub(rf"{flag}(?![\w-])", f"{SET} {field}=", message)
    if SET not in known:
        message = SETTING.sub(lambda m: _spell(m[1], m[2], known), message)
    return message


def spell_flag(field: str) -> str:
    return "--" + field.replace("_", "-")


def _spell(field: str | None, value: str | None, known: Collection[str]) -> str:
    """Of a command without --set: its own flag, or where the field was set."""
    if field is None:
        return f"tune.run {SET}"
    if spell_flag(field) in known:
        return spell_flag(field) + (" " if value else "")
    return f"tune.run {SET} {field}="
