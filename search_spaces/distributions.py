"""What a searched field may be: Optuna's distributions, checked, asked and listed."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import create_trial

from trainable.trial import ConfigError


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether the distribution can yield the value.

    >>> contains(IntDistribution(2, 8, step=2), 3), contains(IntDistribution(2, 8, step=2), 4)
    (False, True)
    """
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    try:
        create_trial(value=0.0, params={"x": value}, distributions={"x": distribution})
    except (TypeError, ValueError):  # which is how Optuna says so
        return False
    return True


def check_distribution(where: str, name: str, distribution: object) -> None:
    """Raises ConfigError unless it is one of Optuna's, with ends that its values can have."""
    if isinstance(distribution, list | tuple | set | range):
        choices = ", ".join(map(repr, distribution))
        raise ConfigError(
            f"{where}: {name} must be a distribution, not {type(distribution).__name__} "
            f"{distribution!r}: write CategoricalDistribution(({choices}))"
        )
    if not isinstance(distribution, BaseDistribution):
        raise ConfigError(
            f"{where}: {name} must be a FloatDistribution, an IntDistribution or a "
            f"CategoricalDistribution, not {distribution!r}: to fix it, put it under fixed"
        )
    if isinstance(distribution, FloatDistribution) and not (
        math.isfinite(distribution.low) and math.isfinite(distribution.high)
    ):
        raise ConfigError(
            f"{where}: {name} runs from {distribution.low} to {distribution.high}: give finite ends"
        )


@contextmanager
def refuse_fractions() -> Iterator[None]:
    """While a space's file is read: of IntDistribution(4.5, 64) Optuna makes 4 to 64 without a
    word. Raises ConfigError."""
    original = IntDistribution.__init__

    def check(self: IntDistribution, low: int, high: int, log: bool = False, step: int = 1) -> None:
        for end, value in {"low": low, "high": high, "step": step}.items():
            if value != int(value):
                raise ConfigError(
                    f"an IntDistribution has {end}={value!r}: give a whole number, or take a "
                    "FloatDistribution"
                )
        original(self, low, high, log, step)

    with patch.object(IntDistribution, "__init__", check):
        yield


def list_values(distribution: BaseDistribution) -> Sequence[Any]:
    """Its values in order, of a continuous one its ends."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    assert isinstance(distribution, FloatDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is None:
        return tuple(dict.fromkeys((low, high)))
    return tuple(low + k * step for k in range(round((high - low) / step) + 1))
