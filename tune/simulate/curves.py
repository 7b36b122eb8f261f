"""Learning curves to replay: what they must tell, and the toy's formula."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.find import find_space
from search_spaces.space import Space
from trainable.result import EvalResult
from trainable.solo.toy import TURN_S, ToyFinetuner, expected_combined
from trainable.trial import TrialConfig
from trainable.worker.lease import Milestone
from tune.plan.recommendation import start_well
from tune.search.config import SweepConfig
from tune.search.profiles import compose
from tune.search.proposals import draw

Point = Mapping[str, Any]
FORMULA = "toy"
FORMULA_SPACE = "lora_modules"
SPEEDS = (0.8, 1.25)  # of the formula's trials: alone, no two of them reach a rung together
GRID_RATES = 500  # learning rates among which the formula's best is looked for


@dataclass(frozen=True)
class Stretch:
    """What lies between two evaluations of a trial, were it alone on its GPU."""

    turns: int
    seconds: float  # of training and of the evaluation at its end
    result: EvalResult


class Curves(ABC):
    """Learning curves of a space's points."""

    config: SweepConfig  # of which a simulated sweep changes some settings
    space: Space
    best: float  # Combined at the end of the best point there is
    seed: int = 0
    fixed_share: float = 1.0  # of an engine that trains them: see `clock`

    def draw(self, seed: int, n: int) -> tuple[Point, ...]:
        """n points at random, no two alike."""
        return draw(self.space, seed, n)

    def to_config(self, point: Point) -> TrialConfig:
        """As a trial's config."""
        return self.space.to_config(point, self.config.base)

    def repeat(self, seed: int) -> Self:
        """As a sweep with another seed would see them."""
        other = copy(self)
        other.seed = seed
        return other

    @abstractmethod
    def advance(self, config: TrialConfig, seen: int, milestone: Milestone) -> Stretch:
        """From the evaluation at `seen` turns (-1: none yet) to the milestone's."""

    @abstractmethod
    def true_combined(self, config: TrialConfig) -> float:
        """Combined at the end, as well as it can be known."""


class Formula(Curves):
    """The toy's curves. Each trial has a speed of its own."""

    def __init__(self) -> None:
        self.config = compose("tiny", {"name": FORMULA, "space": FORMULA_SPACE, "baseline": False})
        fixed = find_space(FORMULA_SPACE).fix({"base_model": FORMULA})
        self.space = start_well(fixed, self.config.base)
        self.best = max(map(self.true_combined, self._list_grid()))
        self._results: dict[tuple[TrialConfig, Milestone], EvalResult] = {}

    def _list_grid(self) -> Iterator[TrialConfig]:
        """Every choice of modules with learning rates from the lowest to the highest."""
        modules, rates = (self.space.searched[n] for n in ("lora_modules", "learning_rate"))
        assert isinstance(modules, CategoricalDistribution) and isinstance(rates, FloatDistribution)
        for rate in np.geomspace(rates.low, rates.high, GRID_RATES):
            for choice in modules.choices:
                point = {"lora_modules": choice, "learning_rate": float(rate)}
                yield self.to_config(point)

    def advance(self, config: TrialConfig, seen: int, milestone: Milestone) -> Stretch:
        result = self._evaluate(config, milestone)
        turns = result.turns_seen - max(seen, 0)
        speed = random.Random(str(config)).uniform(*SPEEDS)
        return Stretch(turns, turns * TURN_S / speed + result.eval_s, result)

    def true_combined(self, config: TrialConfig) -> float:
        return expected_combined(config, config.train_turns)

    def _evaluate(self, config: TrialConfig, milestone: Milestone) -> EvalResult:
        if (config, milestone) not in self._results:
            finetuner = ToyFinetuner(config)
            finetuner.train_until(milestone.turns)
            evaluation = finetuner.evaluate(milestone.asked)
            self._results[config, milestone] = evaluation.result
        return self._results[config, milestone]
