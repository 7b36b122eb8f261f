"""A plan of placeholders, or of the system's acts, with the embedded model and corpus."""

from optuna.distributions import CategoricalDistribution

from search_spaces.space import Space

TARGETS = ("response", "plan+response", "acts+response")

SPACE = Space(
    name="plans",
    question="Does a plan before the reply help, of placeholders or of acts?",
    searched={"target": CategoricalDistribution(TARGETS)},
    fixed={
        **{"lora_modules": "all-linear", "learning_rate": 0.01},
        **{"context": "history+state+db", "max_new_tokens": 100},
    },
    first=tuple({"target": target} for target in TARGETS),
)
