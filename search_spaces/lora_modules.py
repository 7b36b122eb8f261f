"""Which layers deserve an adapter? Selections by learning rates, at one rank, with equal seeds."""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.space import Space

# A selection may also be a pattern on whole module paths, as the last one.
SELECTIONS = ("all-linear", "attention", "ffn", "qv", r"regexp:.*\.(o_proj|down_proj)")
# The most parameters first: the first points meet empty rungs, which let them through to the end.
BY_SIZE = ("all-linear", "ffn", "attention", SELECTIONS[-1], "qv")

SPACE = Space(
    name="lora_modules",
    question="Which of the base model's linear layers should carry a LoRA adapter?",
    searched={
        "lora_modules": CategoricalDistribution(SELECTIONS),
        "learning_rate": FloatDistribution(1e-4, 3e-2, log=True),
    },
    first=(
        *({"lora_modules": name, "learning_rate": 1e-2} for name in BY_SIZE),
        {"lora_modules": "all-linear", "learning_rate": 2e-4},  # the lab's own setting
    ),
)
