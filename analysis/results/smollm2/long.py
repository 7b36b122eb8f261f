"""What does longer training want? The best setting of the sweep that BEST_OF names: as it is, at
lower rates with more dropout, and on all layers."""

import os

from optuna.distributions import CategoricalDistribution, FloatDistribution

from analysis.ranking import rank_trials
from analysis.records import find_sweep, read_sweep
from search_spaces.space import Space

MODULES = ("all-linear", "attention", "ffn", "qv")

ranked = rank_trials(read_sweep(find_sweep(os.environ["BEST_OF"])))
best = next(entry.trial.params for entry in ranked if not entry.trial.is_base)
names = ("lora_modules", "learning_rate", "lora_dropout")
modules, rate, dropout = (best[name] for name in names)

SPACE = Space(
    name="long",
    question="What does longer training want?",
    searched={
        "lora_modules": CategoricalDistribution(MODULES),
        "learning_rate": FloatDistribution(1e-5, 1e-2, log=True),
        "lora_dropout": FloatDistribution(0.0, 0.5),
    },
    first=tuple(
        dict(zip(names, point, strict=True))
        for point in (
            (modules, rate, dropout),
            (modules, rate / 2, 0.1),
            (modules, rate / 4, 0.1),
            ("all-linear", rate / 2, 0.1),
        )
    ),
)
