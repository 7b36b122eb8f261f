"""Is a schedule needed, and for how long does one train? All linear layers at one rank."""

import os

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.space import Space

LENGTHS_TURNS = tuple(int(turns) for turns in os.environ.get("LENGTHS", "4000 12000").split())
RATES = tuple(
    float(rate) for rate in os.environ.get("SCHEDULE_RATES", "8e-4 2.4e-3 7.2e-3").split()
)

SPACE = Space(
    name="schedules",
    question="Which schedule of the learning rate, at which rate, for how many turns?",
    searched={
        "schedule": CategoricalDistribution(("constant", "wsd", "linear", "cosine")),
        "learning_rate": FloatDistribution(1e-5, 1e-1, log=True),
        "train_turns": CategoricalDistribution(LENGTHS_TURNS),
    },
    fixed={"decay_fraction": 0.2},
    first=(
        *(
            {"schedule": way, "learning_rate": rate}
            for way in ("constant", "wsd")
            for rate in RATES
        ),
        *(
            {"schedule": "cosine", "learning_rate": rate, "train_turns": turns}
            for turns in LENGTHS_TURNS
            for rate in RATES
        ),
    ),
    # a constant rate and wsd's branches show the shorter lengths on the way to the longest
    conditions={"train_turns": ("schedule", ("linear", "cosine"))},
)
