"""JSON objects that somebody else wrote: read whole, or refused by one kind of error."""

import json
from pathlib import Path
from typing import Any


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Raises ValueError where the text spells no object, whatever else it is.

    >>> parse_object('{"a": 1}')
    {'a': 1}
    >>> parse_object("[" * 100_000)
    Traceback (most recent call last):
    ValueError: it is nested too deeply
    """
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError("it is no object")
    return values


def read_object(path: Path) -> dict[str, Any]:
    """What a file holds, a byte order mark left out. Raises OSError, ValueError."""
    return parse_object(path.read_text(encoding="utf-8-sig"))
