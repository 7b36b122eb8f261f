"""What is known of a field of TrialConfig, where the field stands: its help, what it may be, and
under which others it exists; and the checks of a value against that."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainable.errors import ConfigError, Setting, nearest

Allowed = tuple[float, float] | tuple[str, ...]
Condition = tuple[str, tuple[str, ...]]  # a field, and its values


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What is known of a field where it stands; checks, `tune.fields` and spaces read it there."""

    help: str
    choices: tuple[str, ...] = ()
    within: tuple[float, float] | None = None  # the lowest and the highest value allowed
    only_with: Condition | None = None  # the field is None under other values
    is_optional: bool = False  # None has a meaning under these values, too


def declare(
    default: Any,
    help: str,
    allowed: Allowed = (),
    only_with: Condition | None = None,
    *,
    is_optional: bool = False,
) -> Any:
    """A field of TrialConfig. `allowed`: choices, or the lowest and the highest value."""
    is_range = bool(allowed) and not isinstance(allowed[0], str)
    values: dict[str, Any] = {"within" if is_range else "choices": allowed}
    declared = Declared(help=help, only_with=only_with, is_optional=is_optional, **values)
    return field(default=default, metadata={"declared": declared})


def check_declared(
    values: Mapping[str, Any], declared: Mapping[str, Declared], kinds: Mapping[str, str]
) -> None:
    """Every value is what its declaration and its annotation say. Raises ConfigError."""
    for name, value in values.items():
        check_kind(name, value, kinds[name])
    for name, known in declared.items():
        if known.choices:
            check_choice(name, values[name], known.choices)
        if known.within is not None:
            check_range(name, values[name], *known.within)
    for name, known in declared.items():
        check_condition(name, known, values)


# type of a field -> what a value of it must be, in code and in words
TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "a text"),
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
}


def check_kind(name: str, value: object, kind: str) -> None:
    """`kind`: the field's annotation, as `int` or `float | None`."""
    kind, _, optional = kind.partition(" | ")
    if value is None and optional:
        return
    types, words = TYPES[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "bool"):
        raise ConfigError(f"{name} must be {words}, not {value!r} (", Setting(name), ")")


def check_choice(name: str, value: str | None, allowed: Collection[str]) -> None:
    """`name`: a field of a trial, or a flag with its dashes."""
    if value is not None and value not in allowed:
        remedy = () if name.startswith("--") else (" (", Setting(name), ")")
        raise ConfigError(
            f"{name} must be one of {', '.join(allowed)}, not {value!r}"
            f"{nearest(str(value), allowed)}",
            *remedy,
        )


def check_range(name: str, value: float | None, low: float, high: float) -> None:
    """Raises ConfigError."""
    if value is None:
        return
    if not low <= value <= high:
        raise ConfigError(
            f"{name} must lie in [{low:g}, {high:g}], not {value!r} (",
            *(Setting(name, "VALUE"), ")"),
        )


def check_condition(name: str, known: Declared, values: Mapping[str, Any]) -> None:
    """`values`: those of all fields, that of `name` among them."""
    if known.only_with is None:
        return
    decider, allowed = known.only_with
    applies, value = values[decider] in allowed, values[name]
    if applies and value is None and not known.is_optional:
        raise ConfigError(
            f"{name} is needed with {decider}={values[decider]}: give ", Setting(name, "VALUE")
        )
    if not applies and value is not None:
        raise ConfigError(
            f"{name}={value} has no meaning with {decider}={values[decider]} "
            f"(only with {' or '.join(allowed)}): leave it out"
        )
