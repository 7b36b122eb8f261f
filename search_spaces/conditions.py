"""When a searched field exists: only under some values of another, its decider."""

from collections.abc import Collection, Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from search_spaces.distributions import contains
from trainable.trial import CHOICES, CONDITIONS, FIELDS, ConfigError, Setting, nearest

Conditions = Mapping[str, tuple[str, tuple[Any, ...]]]  # field -> (decider, its values)


def check_conditions(
    where: str,
    searched: Mapping[str, BaseDistribution],
    fixed: Mapping[str, Any],
    conditions: Conditions,
) -> None:
    """Raises ConfigError where a field could never exist, or a name or a value is no such."""
    for name, condition in conditions.items():
        if name not in searched:
            raise ConfigError(
                f"{where}: the condition on {name} needs {name} among the searched fields"
                f"{nearest(name, searched)}"
            )
        if not _is_pair(condition):
            raise ConfigError(
                f"{where}: the condition on {name} is (deciding field, (value, ...)), not "
                f"{condition!r}"
            )
        decider, allowed = condition
        if decider not in FIELDS:
            raise ConfigError(
                f"{where}: {name} is searched only under {decider!r}, and no field is called so"
                f"{nearest(decider, FIELDS)}"
            )
        for value in allowed:
            _check_value(where, name, decider, value, searched)
    order_fields(where, searched, conditions)
    for name in searched:
        if name in list_idle(conditions, fixed):
            raise ConfigError(f"{where}: ", *_explain_idle(name, fixed, conditions))


def _is_pair(condition: object) -> bool:
    if not isinstance(condition, tuple) or len(condition) != 2:
        return False
    return isinstance(condition[0], str) and isinstance(condition[1], tuple)


def _check_value(
    where: str, name: str, decider: str, value: Any, searched: Mapping[str, BaseDistribution]
) -> None:
    distribution = searched.get(decider)
    if distribution is None:
        known: Collection[Any] = CHOICES.get(decider, (value,))
    elif contains(distribution, value):
        return
    else:
        is_named = isinstance(distribution, CategoricalDistribution)
        known = distribution.choices if is_named else ()  # type: ignore[attr-defined]
    if value not in known:
        raise ConfigError(
            f"{where}: {name} is searched only under {decider}={value!r}, and {decider} is never "
            f"that{nearest(str(value), map(str, known))}"
        )


def _explain_idle(
    name: str, fixed: Mapping[str, Any], conditions: Conditions
) -> tuple[str | Setting, ...]:
    for decider, allowed in list_deciders(name, conditions):
        if decider in fixed and fixed[decider] not in allowed:
            return (
                f"{name} is searched only under {decider}={' or '.join(map(str, allowed))}, and "
                f"{decider} is {fixed[decider]!r}: fix another (",
                *(Setting(decider), f"), or leave {name} out"),
            )
    return (f"{name} is searched, and never exists: its deciding field does not, either",)


def list_deciders(name: str, conditions: Conditions) -> list[tuple[str, tuple[Any, ...]]]:
    """(deciding field, its values) of every condition that the field has."""
    builtin = [(decider, allowed) for decider, allowed, names in CONDITIONS if name in names]
    return [*builtin, *([conditions[name]] if name in conditions else [])]


def list_idle(conditions: Conditions, values: Mapping[str, Any]) -> set[str]:
    """The fields that do not exist under these values of others."""
    own = ((decider, allowed, (name,)) for name, (decider, allowed) in conditions.items())
    rules, idle = (*CONDITIONS, *own), set[str]()
    while True:
        more = {
            name
            for decider, allowed, names in rules
            if decider in idle or (decider in values and values[decider] not in allowed)
            for name in names
        }
        if more <= idle:
            return idle
        idle |= more


def order_fields(where: str, searched: Collection[str], conditions: Conditions) -> tuple[str, ...]:
    """The searched fields, deciders before what they decide on and else as they come. Raises
    ConfigError where they decide on each other."""
    deciders = {
        name: {d for d, _ in list_deciders(name, conditions) if d in searched} for name in searched
    }
    ordered: list[str] = []
    while len(ordered) < len(deciders):
        left = [name for name in deciders if name not in ordered]
        ready = next((name for name in left if deciders[name] <= set(ordered)), None)
        if ready is None:
            raise ConfigError(
                f"{where}: {', '.join(sorted(left))} exist only under each other's values: leave "
                "out one of their conditions"
            )
        ordered.append(ready)
    return tuple(ordered)
