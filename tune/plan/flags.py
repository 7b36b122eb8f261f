"""How the texts of flags are read."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainable.trial import ConfigError

EMBEDDED = ("tiny", "cambridge", "multiwoz")  # names that are not folders
PLACES = ("adapter", "base_model", "corpus")  # fields of TrialConfig that may name a folder


def pick_name(storage: Path, space: str) -> str:
    """The first free name of the form SPACE-NN."""
    return next(n for i in range(1, 10**6) if not (storage / (n := f"{space}-{i:02d}")).exists())


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """What --set gives, folders by their whole paths. Raises ConfigError."""
    values = parse_pairs(settings, "--set")
    places = {n: find_place(v) for n, v in values.items() if n in PLACES and isinstance(v, str)}
    return values | places


def parse_pairs(given: Sequence[str], flag: str) -> dict[str, Any]:
    """FIELD=VALUE pairs; a value is JSON where it reads as such (8, 1e-4, true), else text. Raises
    ConfigError.

    >>> parse_pairs(["lora_rank=8", "response=lexicalised"], "--set")
    {'lora_rank': 8, 'response': 'lexicalised'}
    """
    values: dict[str, Any] = {}
    for pair in given:
        name, separator, text = pair.partition("=")
        if not separator or not name:
            raise ConfigError(f"{flag} takes FIELD=VALUE, not {pair!r}")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values


def find_place(text: str) -> str:
    """A folder's or file's whole path, for workers that are elsewhere and a later --resume; else
    the text."""
    place = Path(text).expanduser()
    return str(place.absolute()) if place.exists() and text not in EMBEDDED else text


def parse_names(text: str) -> tuple[str, ...]:
    """`tensorboard,mlflow`"""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def parse_counts(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"takes whole numbers, such as 100,300, not {text!r}"
        ) from None


PARSERS: dict[Any, Any] = {  # where a type does not read its text itself
    tuple[int, ...]: parse_counts,
    tuple[str, ...]: parse_names,
    float | None: float,
}
