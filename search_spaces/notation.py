"""A space as plain data, for YAML and for Python: `[8, 16, 32]` is a choice, `{low: 1.0e-4, high:
0.03, log: true}` a range, of whole numbers where both ends are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search_spaces.space import Space
from trainable.trial import ConfigError, nearest

PARTS = ("name", "question", "searched", "fixed", "first", "conditions")
ENDS = ("low", "high", "log", "step")


def read_space(values: Mapping[str, Any]) -> Space:
    """The space that a mapping spells: of its parts, or of its searched fields alone. Raises
    ConfigError."""
    is_whole = isinstance(values, Mapping) and "searched" in values
    parts = values if is_whole else {"searched": values}
    for part in parts:
        if part not in PARTS:
            raise ConfigError(f"a space has no {part!r}{nearest(str(part), PARTS)}")
    searched = parts["searched"]
    if not isinstance(searched, Mapping) or not searched:
        raise ConfigError(f"a space searches fields, each with its values, not {searched!r}")
    conditions: Any = parts.get("conditions") or {}
    first: Any = tuple(parts.get("first") or ())
    return Space(
        name=str(parts.get("name") or "own"),
        question=str(parts.get("question") or f"Which {' and '.join(searched)} is best?"),
        searched={name: read_distribution(name, value) for name, value in searched.items()},
        fixed=dict(parts.get("fixed") or {}),
        first=first,
        conditions={name: (decider, tuple(v)) for name, (decider, v) in conditions.items()},
    )


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
    if not isinstance(value, Mapping) or not {"low", "high"} <= set(value) <= set(ENDS):
        raise ConfigError(
            f"{name} is searched over a list of choices or {{low, high, log, step}}, not {value!r}"
        )
    ends = {end: each for end, each in value.items() if each is not None}
    is_whole = all(isinstance(value[end], int) for end in ("low", "high"))
    try:
        return (IntDistribution if is_whole else FloatDistribution)(**ends)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} cannot be searched over {value!r}: {error}") from error


def write_distribution(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    d: Any = distribution
    kind = float if isinstance(distribution, FloatDistribution) else int
    ends = {"low": kind(d.low), "high": kind(d.high)}
    steps = {"step": kind(d.step)} if d.step not in (None, 1) else {}
    return {**ends, **({"log": True} if d.log else {}), **steps}
