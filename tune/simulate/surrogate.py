"""A pool's curves at points that nobody trained, for searches that propose points of their own:
a Gaussian process for the loss at each rung and one for Combined at the end."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from scipy.stats import spearmanr
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.model_selection import KFold

from search_spaces.find import find_space
from trainable.trial import TrialConfig
from trainable.worker.lease import Milestone
from tune.plan.evidence import weigh_shape
from tune.search.proposals import draw
from tune.simulate.curves import Curves, Stretch
from tune.simulate.recorded import open_pool

if TYPE_CHECKING:
    from analysis.curve_pool import Pool

SPACE = "qlora"  # which the points were drawn from
FOLDS = 8
DRAWN = 2_000  # points among which the best there is is looked for

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """How well points are predicted that the model was not made of."""

    error: float  # root mean square
    spread: float  # standard deviation over the points
    rank_correlation: float


class Surrogate(Curves):
    """A pool's curves at any point of the space, as Gaussian processes predict them."""

    def __init__(self, pool: Pool) -> None:
        recorded = open_pool(pool, range(len(pool.params)))
        self.config = recorded.config
        fixed = {n: v for n, v in recorded.space.fixed.items() if n in ("base_model", "corpus")}
        own = find_space(SPACE).fix({"quantisation": "nf4", **fixed})
        self.space = replace(own, searched=recorded.space.searched)
        runs = {config: trials[0] for config, trials in recorded.runs.items()}
        self.rungs = (*self.config.rungs_turns, self.config.train_turns)
        self.templates = next(iter(runs.values())).evals
        self.inputs = np.array([self._encode(config) for config in runs])
        losses = [[math.log(e.nats_per_word or math.nan) for e in t.evals] for t in runs.values()]
        halves = np.array([[t.evals[-1].score, recorded.true_combined(c)] for c, t in runs.items()])
        self.noise = float(np.std(halves[:, 0] - halves[:, 1]) / math.sqrt(2))
        self.targets = np.column_stack((losses, halves.mean(axis=1)))
        self.models = [fit(self.inputs, target) for target in self.targets.T]
        self.known: dict[TrialConfig, Floats] = {}
        drawn = [self._encode(self.to_config(point)) for point in draw(self.space, 0, DRAWN)]
        self.best = float(self.models[-1].predict(np.array(drawn)).max())

    def cross_validate(self) -> dict[str, HeldOut]:
        """Of the logarithm of the loss at each rung and of Combined at the end: FOLDS folds."""
        names = [*(f"log loss at {turns}" for turns in self.rungs), "Combined"]
        found = {}
        for name, target in zip(names, self.targets.T, strict=True):
            predicted = np.empty_like(target)
            for kept, out in KFold(FOLDS, shuffle=True, random_state=0).split(self.inputs):
                predicted[out] = fit(self.inputs[kept], target[kept]).predict(self.inputs[out])
            found[name] = HeldOut(
                error=float(np.sqrt(np.mean((predicted - target) ** 2))),
                spread=float(target.std()),
                rank_correlation=float(spearmanr(predicted, target)[0]),
            )
        return found

    def advance(self, config: TrialConfig, seen: int, milestone: Milestone) -> Stretch:
        place = self.rungs.index(milestone.turns)
        own = self._predict(config)
        template, turns = self.templates[place], milestone.turns - max(seen, 0)
        noise = random.Random(f"{config} {self.seed}").gauss(0.0, self.noise)
        result = replace(
            template,
            nats_per_word=math.exp(own[place]),
            combined=float(own[-1]) + noise if milestone.asked.replies else None,
        )
        pace_s = template.train_s / template.turns_seen
        return Stretch(turns, turns * pace_s + template.eval_s, result)

    def true_combined(self, config: TrialConfig) -> float:
        return float(self._predict(config)[-1])

    def _predict(self, config: TrialConfig) -> Floats:
        """[rungs + 1]: the logarithm of the loss at each, then Combined at the end."""
        if config not in self.known:
            inputs = self._encode(config)[None]
            self.known[config] = np.array([model.predict(inputs)[0] for model in self.models])
        return self.known[config]

    def _encode(self, config: TrialConfig) -> Floats:
        values = config.to_dict()
        rate = math.log10(values["learning_rate"]) + weigh_shape(values)
        searched = self.space.searched.items()
        own = [x for name, d in searched for x in scale(d, values[name])]
        return np.array([rate, *own])


def scale(distribution: BaseDistribution, value: Any) -> Sequence[float]:
    """A number in 0..1 from the lowest to the highest; of a choice one for each."""
    d: Any = distribution
    if isinstance(d, CategoricalDistribution):
        return [float(value == choice) for choice in d.choices]
    low, high, at = (math.log(x) if d.log else float(x) for x in (d.low, d.high, value))
    return [(at - low) / (high - low)]


def fit(inputs: Floats, target: Floats) -> Any:
    """A length of its own for each input, and noise."""
    lengths = Matern(np.ones(inputs.shape[1]), (0.1, 100.0), nu=2.5)
    kernel = ConstantKernel(1.0) * lengths + WhiteKernel(0.1, (1e-4, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcessRegressor(kernel, normalize_y=True).fit(inputs, target)
