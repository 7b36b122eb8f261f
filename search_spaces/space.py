"""What a space is: a question, the fields that are searched for it, and what is fixed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    distribution_to_json,
    json_to_distribution,
)

from search_spaces.conditions import (
    Conditions,
    check_conditions,
    list_deciders,
    list_idle,
    order_fields,
)
from search_spaces.distributions import check_distribution, contains
from trainable.trial import CONDITIONS, DEFAULTS, FIELDS, ConfigError, Setting, TrialConfig, nearest

Choose = Callable[[str, BaseDistribution], Any]


class Draw(Protocol):
    """Whatever draws values: an `optuna.Trial` offers these three."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Space:
    """A question as data; in what order its fields and conditions stand does not matter. Raises
    ConfigError when a field is unknown, searched and fixed, or could never exist."""

    name: str
    question: str  # the lab's question that this space answers
    searched: Mapping[str, BaseDistribution]  # TrialConfig field -> what it may be
    fixed: Mapping[str, Any] = field(default_factory=dict)  # field -> value, over the profile's
    first: tuple[Mapping[str, Any], ...] = ()  # points tried first, the lab's own among them
    # field -> (deciding field, its values): searched only then, beside trial.CONDITIONS
    conditions: Conditions = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"space {self.name}"
        for name in (*self.searched, *self.fixed, *self.conditions):
            if name not in FIELDS:
                raise ConfigError(
                    f"{where}: no field is called {name!r}{nearest(str(name), FIELDS)}: take one "
                    f"of {', '.join(FIELDS)} (",
                    *(Setting("FIELD", "VALUE"), ")"),
                )
        for name, distribution in self.searched.items():
            check_distribution(where, name, distribution)
        if both := sorted(set(self.searched) & set(self.fixed)):
            raise ConfigError(f"{where}: {', '.join(both)} is both searched and fixed: keep one")
        check_conditions(where, self.searched, self.fixed, self.conditions)
        for point in self.first:
            self._check_point(point)

    def _check_point(self, point: object) -> None:
        if not isinstance(point, Mapping):
            raise ConfigError(
                f"space {self.name}: first is a tuple of points, each a dict, and holds {point!r}: "
                "a comma after a single point makes the tuple"
            )
        for name, value in point.items():
            if name not in self.searched:
                raise ConfigError(
                    f"space {self.name}: the first point {name}={value!r} lies outside what is "
                    f"searched: {name} is not{nearest(name, self.searched)}"
                )
            if not contains(self.searched[name], value):
                raise ConfigError(
                    f"space {self.name}: the first point {name}={value!r} lies outside what is "
                    f"searched ({self.searched[name]})"
                )

    @cached_property
    def _ordered(self) -> tuple[str, ...]:
        return order_fields(self.name, self.searched, self.conditions)

    def sample(self, choose: Choose) -> dict[str, Any]:
        """A point: `choose(field, distribution)` is asked for every field that exists under the
        values chosen before it."""
        point: dict[str, Any] = {}
        for name in self._ordered:
            if self._exists(name, point):
                point[name] = choose(name, self.searched[name])
        return {name: point[name] for name in self.searched if name in point}

    def holds(self, point: Mapping[str, Any]) -> bool:
        """Whether every value of the point is one that is searched, the others left out."""
        searched = {n: v for n, v in point.items() if n in self.searched}
        return all(contains(self.searched[name], value) for name, value in searched.items())

    def to_point(self, config: TrialConfig) -> dict[str, Any]:
        """The point that makes the config: the inverse of `to_config`. What is searched and may be
        left out is not in it where the config leaves it out."""
        values = self.sample(lambda name, _: getattr(config, name))
        return {
            name: value
            for name, value in values.items()
            if value is not None or contains(self.searched[name], None)
        }

    def to_config(self, point: Mapping[str, Any], base: Mapping[str, Any]) -> TrialConfig:
        """The one TrialConfig of a point. Fields of the profile's `base` without a meaning under
        the others' values are left out, as are fixed ones whose deciding field is searched."""
        values = {**base, **self.fixed, **point}
        for decider, allowed, dependants in CONDITIONS:
            if values.get(decider, DEFAULTS[decider]) in allowed:
                continue
            for name in dependants:
                if name in point or (name in self.fixed and decider not in self.searched):
                    continue
                values.pop(name, None)
        return TrialConfig.from_dict(values)

    def fix(self, values: Mapping[str, Any]) -> Space:
        """The space with these fields fixed, searched no more; nor are those of its own that have
        no meaning under them."""
        idle = list_idle(self.conditions, values) - set(values)
        searched = {n: d for n, d in self.searched.items() if n not in values and n not in idle}
        fixed = {n: v for n, v in self.fixed.items() if n not in idle}
        first = tuple({n: v for n, v in p.items() if n in searched} for p in self.first)
        unique = tuple(p for i, p in enumerate(first) if p not in first[:i])
        return replace(
            self,
            searched=searched,
            fixed={**fixed, **values},
            first=unique or ({},),
            conditions={n: c for n, c in self.conditions.items() if n in searched},
        )

    def on(self, base: Mapping[str, Any]) -> Space:
        """The space on a profile's `base`, which states what the space's own conditions go by and
        the space leaves open. Raises ConfigError where a field could never exist there."""
        known = {*self.searched, *self.fixed}
        stated = {
            decider: base.get(decider, DEFAULTS[decider])
            for decider, _ in self.conditions.values()
            if decider not in known
        }
        return replace(self, fixed={**self.fixed, **stated}) if stated else self

    def adopt(self, brought: Mapping[str, Any]) -> Space:
        """The space on what an adapter brings along: of its choices those stand that are neither
        searched nor fixed, and fields without a meaning under them are not searched."""
        own = {*self.searched, *self.fixed}
        choices = {d: brought[d] for d, _, _ in CONDITIONS if d in brought and d not in own}
        return self.fix({**self.fixed, **choices})

    def fit_lengths(self, train_turns: int) -> Space:
        """The space with its choices of train_turns in proportion, the longest of `train_turns`."""
        lengths = self.searched.get("train_turns")
        if not isinstance(lengths, CategoricalDistribution):
            return self
        choices: tuple[Any, ...] = lengths.choices
        scaled = {n: max(round(n * train_turns / max(choices)), 1) for n in choices}
        distribution = CategoricalDistribution(tuple(dict.fromkeys(scaled.values())))
        first = tuple(
            {n: scaled[v] if n == "train_turns" else v for n, v in point.items()}
            for point in self.first
        )
        return replace(self, searched={**self.searched, "train_turns": distribution}, first=first)

    def _exists(self, name: str, point: Mapping[str, Any]) -> bool:
        known = {**self.fixed, **point}
        own = self.conditions.get(name)
        if own is not None and own[0] not in known:
            return False
        deciders = {decider for decider, _ in list_deciders(name, self.conditions)}
        is_undecided = any(d in self.searched and d not in known for d in deciders)
        return not is_undecided and name not in list_idle(self.conditions, known)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `Space.from_dict` reads it back."""
        return {
            "name": self.name,
            "question": self.question,
            "searched": {n: json.loads(distribution_to_json(d)) for n, d in self.searched.items()},
            "fixed": dict(self.fixed),
            "first": [dict(point) for point in self.first],
            "conditions": {n: [d, list(v)] for n, (d, v) in self.conditions.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Space:
        return cls(
            name=values["name"],
            question=values["question"],
            searched={
                n: json_to_distribution(json.dumps(d)) for n, d in values["searched"].items()
            },
            fixed=values["fixed"],
            first=tuple(values.get("first", ())),
            conditions={
                n: (decider, tuple(allowed))
                for n, (decider, allowed) in values.get("conditions", {}).items()
                if n in values["searched"]
            },
        )
