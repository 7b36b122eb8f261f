"""How well can QLoRA do here? Everything that decides it, searched jointly."""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.space import Space

LAB = {  # the lab's own setting, as QLoRA's for 7B (arXiv 2305.14314, table 9)
    "lora_rank": 64,
    "alpha_over_rank": 0.25,  # alpha 16
    "lora_modules": "all-linear",
    "lora_dropout": 0.1,
    "learning_rate": 2e-4,
    "schedule": "constant",
    "batch_turns": 32,
    "context": "history",
    "quantisation": "nf4",
}

SPACE = Space(
    name="qlora",
    question="Which QLoRA setting answers MultiWOZ best, all of its parts searched together?",
    searched={
        "lora_rank": IntDistribution(8, 64, log=True),
        "alpha_over_rank": FloatDistribution(0.125, 4.0, log=True),
        "lora_modules": CategoricalDistribution(("all-linear", "attention", "ffn", "qv")),
        "lora_dropout": FloatDistribution(0.0, 0.1),
        "learning_rate": FloatDistribution(1e-4, 5e-3, log=True),
        "schedule": CategoricalDistribution(("constant", "linear", "cosine")),
        "batch_turns": CategoricalDistribution((32, 64, 128, 256)),
        "context": CategoricalDistribution(("history", "history+state", "history+state+db")),
        "quantisation": CategoricalDistribution(("nf4", "fp4")),
    },
    first=(
        LAB,
        {**LAB, "alpha_over_rank": 1.0, "learning_rate": 1e-3, "context": "history+state+db"},
        {
            **LAB,
            "lora_rank": 16,
            "alpha_over_rank": 2.0,
            "lora_dropout": 0.05,
            "schedule": "cosine",
        },
    ),
)
