"""What a value read from records may be, by its kind and by a dataclass's fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from math import isfinite
from types import NoneType
from typing import Any

NUMBER = (int, float, NoneType)
SCALARS = frozenset({str, int, bool, NoneType, float})
MOST_SHAPES = 1000  # that are remembered
_SHAPES: dict[tuple[Any, ...], tuple[tuple[str, ...], tuple[str, ...]]] = {}
TYPES: dict[str, tuple[type, ...]] = {
    **{
        "bool": (bool,),
        "int": (int,),
        "float": (int, float),
        "str": (str,),
        "tuple": (list, tuple),
    },
    **{"dict": (dict,), "Mapping": (dict,)},
}


def check(kind: type, name: str, value: Any) -> Any:
    """The value. Raises TypeError where it is of another kind than JSON gives."""
    if not is_a(kind, value):
        raise TypeError(f"{name} cannot be {value!r:.60}")
    return value


def is_a(kind: type, value: Any) -> bool:
    """Whether JSON's value is of the kind: a truth is no number, a whole number is a float."""
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def to_plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as a trial has them; what no field can be (a list, not a number) as its text.

    >>> to_plain({"lora_rank": 8, "seed": [1, 2]})
    {'lora_rank': 8, 'seed': '[1, 2]'}
    """
    if SCALARS.issuperset(map(type, values.values())) and is_finite(values):
        return dict(values)
    return {name: v if is_plain(v) else json.dumps(v) for name, v in values.items()}


def is_finite(values: Mapping[str, Any]) -> bool:
    """Whether all of the floats are, told by their sum: one that is not makes it so."""
    return isfinite(sum(v for v in values.values() if type(v) is float))


def is_plain(value: Any) -> bool:
    is_number = isinstance(value, float) and isfinite(value)
    return is_number or value is None or isinstance(value, str | int)


def pick(of: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of that dataclass, each checked; quickly, since a sweep has a hundred thousand:
    after the first of many events with the same names and types, these are not checked again."""
    shape = (of, *values, *map(type, values.values()))
    known = _SHAPES.get(shape)
    if known is not None:
        names, mappings = known
        found = {name: values[name] for name in names}
        if is_finite(found):
            _check_numbers(found, mappings)
            return found
    found = _pick_one_by_one(of, values)
    if len(_SHAPES) < MOST_SHAPES:
        _SHAPES[shape] = tuple(found), tuple(n for n in found if _list_fields(of)[n][1])
    return found


def _pick_one_by_one(of: type, values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (types, of_numbers, is_needed) in _list_fields(of).items():
        if name not in values:
            if is_needed:
                raise KeyError(name)
            continue
        value = found[name] = values[name]
        check_value(name, value, types)
        if of_numbers:
            _check_numbers(found, (name,))
    return found


def _check_numbers(found: Mapping[str, Any], names: Iterable[str]) -> None:
    """Of fields that map names to numbers."""
    for name in names:
        for number in (found[name] or {}).values():
            check_value(name, number, NUMBER)


def build(of: Any, values: Mapping[str, Any]) -> Any:
    """A frozen dataclass of those fields, which `pick` has checked, and its defaults: without its
    __init__, which takes as long as all the rest of reading it."""
    made = object.__new__(of)
    made.__dict__.update(_list_defaults(of), **values)
    return made


@cache
def _list_defaults(of: Any) -> dict[str, Any]:
    """Shared ones are of mappings that nobody changes."""
    known = {f.name: f.default for f in fields(of) if f.default is not MISSING}
    made = {f.name: f.default_factory() for f in fields(of) if f.default_factory is not MISSING}
    return {**known, **made}


def check_value(name: str, value: Any, types: tuple[type, ...]) -> None:
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise TypeError(f"{name} cannot be {value!r:.60}")
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{name} is not finite")


@cache
def _list_fields(kind: type) -> dict[str, tuple[tuple[type, ...], bool, bool]]:
    """Field -> its types, whether it maps names to numbers, whether it has no default."""
    bare = (MISSING, MISSING)
    found = {}
    for f in fields(kind):
        annotation = str(f.type)
        types = TYPES[re.split(r"\W", annotation)[0]]
        optional = (NoneType,) if "None" in annotation else ()
        of_numbers = annotation.startswith("dict[str, float]")
        found[f.name] = (types + optional, of_numbers, (f.default, f.default_factory) == bare)
    return found
