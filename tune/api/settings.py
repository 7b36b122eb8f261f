"""Arguments of a Python call as the flags of `qlora-search run`, and as what is wrong with them."""

import argparse
import json
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

from trainable.trial import ConfigError, nearest

OWN = (  # flags that are other arguments here, or none
    *("space", "set", "resume", "config", "profile", "storage"),
    *("json", "dry_run", "mappings"),
)
TOLD: dict[Any, str] = {
    **{int: "a whole number", float: "a number", float | None: "a number", bool: "True or False"},
    **{tuple[int, ...]: "whole numbers", tuple[str, ...]: "names"},
}
LISTS = (tuple[int, ...], tuple[str, ...])
A_FUNCTION = ": a function stands in a file, and is given as 'python:FILE:FUNCTION'"


def spell_flags(settings: Mapping[str, Any]) -> argparse.Namespace:
    """The flags of `qlora-search run`, as given by their names. Raises ConfigError."""
    from tune.plan.flags import parse_names
    from tune.run import build_parser
    from tune.search.config import FLAGS, KINDS

    flags = build_parser().parse_args([])
    names = {flag.spelt or name: name for name, flag in FLAGS.items()}
    names |= {name: name for name in vars(flags) if name not in OWN}
    for given, value in settings.items():
        if given not in names:
            raise ConfigError(f"no setting is called {given!r}{nearest(given, names)}")
        name = names[given]
        if name == "warm_start" and value is not None:
            setattr(flags, name, [parse_names(spell(value))])
        elif value is not None:
            setattr(flags, name, read_setting(given, KINDS.get(name, bool), value))
    return flags


def read_setting(given: str, kind: Any, value: Any) -> Any:
    """The value as its flag is read from a text. Raises ConfigError."""
    from tune.plan.flags import PARSERS

    if kind is str:
        return read_text(given, value)
    try:
        is_list = isinstance(value, Iterable) and not isinstance(value, str)
        if (kind is bool) != isinstance(value, bool) or (is_list and kind not in LISTS):
            raise ValueError
        return value if kind is bool else PARSERS.get(kind, kind)(spell(value))
    except (ValueError, argparse.ArgumentTypeError):
        raise ConfigError(f"{given} must be {TOLD[kind]}, not {value!r}") from None


def read_text(given: str, value: Any) -> str:
    """Of a text, a path or a number. Raises ConfigError."""
    if not isinstance(value, str | PathLike | int):
        hint = A_FUNCTION if callable(value) else ""
        raise ConfigError(f"{given} must be a text, not {value!r:.80}{hint}")
    return str(value)


def spell(value: Any) -> str:
    """As on a command line.

    >>> spell([100, 300]), spell(0.5)
    ('100,300', '0.5')
    """
    is_list = isinstance(value, Iterable) and not isinstance(value, str | Mapping)
    return ",".join(map(str, value)) if is_list else str(value)


def spell_fixed(fixed: Any, **own: str | PathLike[str] | None) -> list[str]:
    """What `--set` takes: fields with their values, and those that are arguments of their own.
    Raises ConfigError."""
    if not isinstance(fixed, Mapping):
        raise ConfigError(f"fixed takes fields and their values, {{'lora_rank': 8}}, not {fixed!r}")
    places = {name: str(v) if isinstance(v, PathLike) else v for name, v in own.items()}
    values = {**fixed, **{name: value for name, value in places.items() if value is not None}}
    return [f"{field}={json.dumps(value, default=plain)}" for field, value in values.items()]


def plain(value: Any) -> Any:
    """numpy's numbers as Python's; a path as its text."""
    return value.item() if hasattr(value, "item") else str(value)


def check_callbacks(callbacks: Any) -> None:
    """Raises ConfigError on what is no list of functions."""
    if not isinstance(callbacks, Iterable) or not all(map(callable, callbacks)):
        raise ConfigError(f"callbacks takes a list of functions, not {callbacks!r:.80}")
