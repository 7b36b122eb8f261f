"""A space as plain data, for YAML and for Python: `[8, 16, 32]` is a choice, `{low: 1.0e-4, high:
0.03, log: true}` a range, of whole numbers where both ends are."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search_spaces.space import Space
from trainable.trial import ConfigError, nearest

PARTS: Mapping[str, tuple[str, tuple[type, ...]]] = {  # what each is, in words and in types
    "name": ("a text", (str,)),
    "question": ("a text", (str,)),
    "searched": ("fields, each with its values", (Mapping,)),
    "fixed": ("fields, each with its value", (Mapping,)),
    "first": ("a list of points", (list, tuple)),
    "conditions": ("fields, each with [deciding field, [value, ...]]", (Mapping,)),
}
ENDS = ("low", "high", "log", "step")


def read_space(values: Mapping[str, Any]) -> Space:
    """The space that a mapping spells: of its parts, or of its searched fields alone. Raises
    ConfigError."""
    is_whole = isinstance(values, Mapping) and "searched" in values
    given: dict[str, Any] = dict(values) if is_whole else {"searched": values}
    parts = {part: value for part, value in given.items() if value is not None}
    for part, value in parts.items():
        if part not in PARTS:
            raise ConfigError(f"a space has no {part!r}{nearest(str(part), PARTS)}")
        words, kinds = PARTS[part]
        if not isinstance(value, kinds):
            raise ConfigError(f"a space's {part} must be {words}, not {value!r}")
    searched = parts.get("searched")
    if not searched:
        raise ConfigError("a space searches fields, each with its values, and this one none")
    conditions = parts.get("conditions", {})
    return Space(
        name=parts.get("name", "own"),
        question=parts.get("question", f"Which {' and '.join(map(str, searched))} is best?"),
        searched={name: read_distribution(name, value) for name, value in searched.items()},
        fixed=dict(parts.get("fixed", {})),
        first=tuple(parts.get("first", ())),
        conditions={name: read_condition(name, value) for name, value in conditions.items()},
    )


def read_condition(name: str, value: Any) -> tuple[str, tuple[Any, ...]]:
    is_pair = isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str)
    if not is_pair or not isinstance(value[1], list | tuple):
        raise ConfigError(
            f"the condition on {name} must be [deciding field, [value, ...]], not {value!r}"
        )
    return value[0], tuple(value[1])


def write_space(space: Space) -> dict[str, Any]:
    """What `read_space` reads back."""
    whole = space.to_dict()
    searched = {name: write_distribution(d) for name, d in space.searched.items()}
    parts = {**whole, "searched": searched}
    return {name: value for name, value in parts.items() if value or name == "searched"}


def read_distribution(name: str, value: Any) -> BaseDistribution:
    if isinstance(value, BaseDistribution):
        return value
    if isinstance(value, list | tuple) and value:
        return CategoricalDistribution(tuple(value))
    if (ends := _read_ends(value)) is None:
        raise ConfigError(
            f"{name} is searched over a list of choices or {{low, high, log, step}}, not {value!r}"
        )
    is_whole = all(isinstance(each, int) for each in ends.values())
    try:
        return (IntDistribution if is_whole else FloatDistribution)(**ends)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} cannot be searched over {value!r}: {error}") from error


def _read_ends(value: Any) -> dict[str, Any] | None:
    """What IntDistribution or FloatDistribution takes; None where the value is no range."""
    given = value if isinstance(value, Mapping) else {}
    ends = {end: each for end, each in given.items() if each is not None}
    log, numbers = ends.get("log", False), [ends[end] for end in ends if end != "log"]
    are_numbers = all(isinstance(n, Real) and not isinstance(n, bool) for n in numbers)
    is_range = {"low", "high"} <= set(ends) <= set(ENDS)
    return ends if is_range and are_numbers and isinstance(log, bool) else None


def write_distribution(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    d: Any = distribution
    kind = float if isinstance(distribution, FloatDistribution) else int
    ends = {"low": kind(d.low), "high": kind(d.high)}
    steps = {"step": kind(d.step)} if d.step not in (None, 1) else {}
    return {**ends, **({"log": True} if d.log else {}), **steps}
