"""How large should an adapter be? Its rank by its scale, plain or rank-stabilised."""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.space import Space

LAB = {"lora_rank": 64, "alpha_over_rank": 0.25, "rslora": False}  # the lab's own setting

SPACE = Space(
    name="lora_rank",
    question="How do an adapter's rank and scale change the result, and when does rank saturate?",
    searched={
        "lora_rank": IntDistribution(2, 256, log=True),
        "alpha_over_rank": FloatDistribution(0.0625, 8.0, log=True),
        "rslora": CategoricalDistribution((False, True)),
    },
    first=(
        LAB,
        *({**LAB, "lora_rank": rank, "alpha_over_rank": 2.0} for rank in (2, 8, 64, 256)),
        {**LAB, "lora_rank": 256, "rslora": True},
    ),
)
