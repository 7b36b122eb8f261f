"""What is pretraining worth? The same network from its weights or from none, all of it trained."""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.space import Space

SPACE = Space(
    name="from_scratch",
    question="How does full finetuning compare with training the same network from scratch?",
    searched={
        "initialisation": CategoricalDistribution(("pretrained", "random")),
        "quantisation": CategoricalDistribution(("bf16", "fp32")),
        "learning_rate": FloatDistribution(1e-5, 3e-3, log=True),
    },
    fixed={"method": "full"},
    first=(
        # the lab's own setting, and its like from scratch, which wants a higher rate
        {"initialisation": "pretrained", "quantisation": "bf16", "learning_rate": 2e-4},
        {"initialisation": "random", "quantisation": "bf16", "learning_rate": 1e-3},
        {"initialisation": "pretrained", "quantisation": "fp32", "learning_rate": 2e-4},
        {"initialisation": "random", "quantisation": "fp32", "learning_rate": 1e-3},
    ),
)
