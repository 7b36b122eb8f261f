"""Learning curves to replay: the toy's formula, or what a sweep without ASHA has recorded."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution

from analysis.records import EvalRecord, SweepRecords, TrialRecord
from search_spaces.find import find_space
from search_spaces.space import Space
from trainable.result import EvalResult
from trainable.solo.toy import TURN_S, ToyFinetuner, expected_combined
from trainable.trial import ConfigError, TrialConfig
from trainable.worker.lease import Milestone
from tune.plan.estimate import FORWARD
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


class Curves(Protocol):
    config: SweepConfig  # of which a simulated sweep changes some settings
    space: Space
    best: float  # Combined at the end of the best point there is

    def draw(self, seed: int, n: int) -> tuple[Point, ...]:
        """n points at random, no two alike."""

    def advance(self, config: TrialConfig, seen: int, milestone: Milestone) -> Stretch:
        """From the evaluation at `seen` turns (-1: none yet) to the milestone's."""

    def worth(self, config: TrialConfig) -> float:
        """Combined at the end, as well as it can be known."""


class Formula:
    """The toy's curves. Each trial has a speed of its own."""

    def __init__(self) -> None:
        self.space = find_space(FORMULA_SPACE).fix({"base_model": FORMULA})
        self.config = compose("tiny", {"name": FORMULA, "space": FORMULA_SPACE, "baseline": False})
        self.best = max(map(self.worth, self._list_grid()))
        self._results: dict[tuple[TrialConfig, Milestone], EvalResult] = {}

    def _list_grid(self) -> Iterator[TrialConfig]:
        """Every choice of modules with learning rates from the lowest to the highest."""
        modules, rates = (self.space.searched[n] for n in ("lora_modules", "learning_rate"))
        assert isinstance(modules, CategoricalDistribution) and isinstance(rates, FloatDistribution)
        for rate in np.geomspace(rates.low, rates.high, GRID_RATES):
            for choice in modules.choices:
                point = {"lora_modules": choice, "learning_rate": float(rate)}
                yield self.space.spell(point, self.config.base)

    def draw(self, seed: int, n: int) -> tuple[Point, ...]:
        return draw(self.space, seed, n)

    def advance(self, config: TrialConfig, seen: int, milestone: Milestone) -> Stretch:
        result = self._evaluate(config, milestone)
        turns = result.turns_seen - max(seen, 0)
        speed = random.Random(str(config)).uniform(*SPEEDS)
        return Stretch(turns, turns * TURN_S / speed + result.eval_s, result)

    def worth(self, config: TrialConfig) -> float:
        return expected_combined(config, config.train_turns)

    def _evaluate(self, config: TrialConfig, milestone: Milestone) -> EvalResult:
        if (config, milestone) not in self._results:
            finetuner = ToyFinetuner(config)
            finetuner.train_until(milestone.turns)
            evaluation = finetuner.evaluate(milestone.n_dialogues, replies=milestone.replies)
            self._results[config, milestone] = evaluation.result
        return self._results[config, milestone]


class Recorded:
    """The curves of a sweep's trials that reached their end. Raises ConfigError when there are
    none."""

    def __init__(self, records: SweepRecords) -> None:
        self.space = Space.from_dict(records.space)
        self.config = read_config(records)
        ended = [t for t in records.searched if t.state == "COMPLETE"]
        if not ended:
            raise ConfigError(
                f"--curves needs a sweep with trials that reached their end, and {records.folder} "
                "has none: run one with --asha off"
            )
        self.trials = {self._spell(trial): trial for trial in ended}
        self.most_dialogues = max(e.n_dialogues for t in ended for e in t.evals)
        self.best = max(self.worth(config) for config in self.trials)

    def _spell(self, trial: TrialRecord) -> TrialConfig:
        return self.space.spell(trial.params, self.config.base)

    def draw(self, seed: int, n: int) -> tuple[Point, ...]:
        if n > len(self.trials):
            raise ConfigError(
                f"--trials must be at most {len(self.trials)}, the curves recorded, not {n}"
            )
        points = [trial.params for trial in self.trials.values()]
        return tuple(random.Random(seed).sample(points, n))

    def advance(self, config: TrialConfig, seen: int, milestone: Milestone) -> Stretch:
        trial = self.trials[config]
        reached = trial.eval_at(milestone.turns)
        assert reached is not None, f"trial {trial.id} has no evaluation at {milestone.turns} turns"
        if not milestone.replies:
            reached = self._drop_replies(reached)
        before = next((e for e in trial.evals if e.turns_seen == seen), None)
        trained_s = reached.train_s - (before.train_s if before else 0.0)
        turns = reached.turns_seen - (before.turns_seen if before else 0)
        return Stretch(turns, trained_s + reached.eval_s, reached)

    def _drop_replies(self, e: EvalRecord) -> EvalRecord:
        """The evaluation as it would be of the loss alone, on as many dialogues as any was made on.
        Earlier records have the loss a token, which orders the trials of one tokenizer alike."""
        loss = e.loss_nats if e.nats_per_word is None else e.nats_per_word
        if e.combined is None:
            return e
        n_turns = e.n_turns / e.n_dialogues * self.most_dialogues
        eval_s = FORWARD * e.train_s / max(e.turns_seen, 1) * n_turns
        return replace(e, combined=None, nats_per_word=loss, eval_s=eval_s)

    def worth(self, config: TrialConfig) -> float:
        last = self.trials[config].last
        assert last is not None
        return last.score


def read_config(records: SweepRecords) -> SweepConfig:
    try:
        own = {"baseline": False, "seeds": 1, "confirm": 0, "calibrate": None}
        return SweepConfig.from_dict({**records.config, **own})
    except TypeError as error:
        raise ConfigError(
            f"{records.folder / 'sweep.json'} does not spell a sweep's settings ({error}): give "
            "--curves a sweep of tune.run"
        ) from error
