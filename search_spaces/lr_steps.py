"""How fast and how long should we train? Rates by schedules, and lengths where the rate decays.

With a constant rate the best length is read off the curve of one run, and so it is with wsd, whose
every milestone is a decay of its own that branches off one stable run. Only where the whole rate
leads to its end, linear and cosine, is a trial of another length another trial. Lengths are of the
lab's 30 000 turns; a sweep of another --train-turns has them in proportion.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.space import Space

LENGTHS_TURNS = (3750, 7500, 15_000, 30_000)

SPACE = Space(
    name="lr_steps",
    question="Which learning rate, how many turns of training, and which schedule?",
    searched={
        "learning_rate": FloatDistribution(1e-5, 1e-2, log=True),
        "schedule": CategoricalDistribution(("constant", "linear", "cosine", "wsd")),
        "train_turns": CategoricalDistribution(LENGTHS_TURNS),
    },
    fixed={"decay_fraction": 0.2},
    first=(
        {"learning_rate": 2e-4, "schedule": "constant"},  # the lab's own setting
        {"learning_rate": 1e-3, "schedule": "constant"},
        {"learning_rate": 1e-3, "schedule": "wsd"},
        {"learning_rate": 1e-3, "schedule": "cosine", "train_turns": LENGTHS_TURNS[-1]},
        {"learning_rate": 1e-3, "schedule": "cosine", "train_turns": LENGTHS_TURNS[0]},
    ),
    conditions={"train_turns": ("schedule", ("linear", "cosine"))},
)
