"""Three points, each to be trained in bf16 and in fp16 with the same seeds."""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.space import Space

SPACE = Space(
    name="precision",
    question="Does fp16 learn what bf16 does?",
    searched={
        "lora_modules": CategoricalDistribution(("all-linear", "ffn")),
        "learning_rate": FloatDistribution(1e-5, 1e-1, log=True),
    },
    first=(
        {"lora_modules": "all-linear", "learning_rate": 6.4e-3},
        {"lora_modules": "ffn", "learning_rate": 6.4e-3},
        {"lora_modules": "all-linear", "learning_rate": 1.6e-3},
    ),
)
