"""Which variant of LoRA is worth it? All of the same parameters: a rank of 16, or ranks that go by
depth and are 16 on the mean (of an even number of blocks)."""

from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.space import Space

PLAIN = {
    **{"lora_init": "uniform", "dora": False, "lora_plus_ratio": 1.0},
    **{"neftune_alpha": 0.0, "rank_pattern": "all-linear=16"},
}
VARIANTS: tuple[dict[str, Any], ...] = (  # where B is faster, A's rate is lower
    {"learning_rate": 5e-3},
    {"lora_plus_ratio": 4.0, "learning_rate": 2e-3},
    {"lora_plus_ratio": 16.0, "learning_rate": 7e-4},  # the ratio of arXiv 2402.12354
    {"lora_init": "pissa", "learning_rate": 2e-3},
    {"dora": True, "learning_rate": 5e-3},
    {"neftune_alpha": 5.0, "learning_rate": 5e-3},  # the least of arXiv 2310.05914
    {"rank_pattern": "first-half=24,last-half=8", "learning_rate": 5e-3},
    {"rank_pattern": "first-half=8,last-half=24", "learning_rate": 5e-3},
    {"rank_pattern": "every-second=28,all-linear=4", "learning_rate": 5e-3},
)


def spell(variant: dict[str, Any]) -> dict[str, Any]:
    """A point. DoRA's norms take whole weights: it does not exist with PiSSA."""
    point = {**PLAIN, **variant}
    if point["lora_init"] == "pissa":
        del point["dora"]
    return point


SPACE = Space(
    name="methods",
    question="Which variant of LoRA is worth it, at equal parameters?",
    # the rate stands first: points are compared, not the values of one field
    searched={
        "learning_rate": FloatDistribution(1e-4, 3e-2, log=True),
        "lora_init": CategoricalDistribution(("uniform", "pissa")),
        "dora": CategoricalDistribution((False, True)),
        "lora_plus_ratio": FloatDistribution(1.0, 32.0, log=True),
        "neftune_alpha": FloatDistribution(0.0, 15.0),
        "rank_pattern": CategoricalDistribution(
            tuple(dict.fromkeys(str({**PLAIN, **v}["rank_pattern"]) for v in VARIANTS))
        ),
    },
    fixed={"lora_rank": 16},
    first=(
        spell({"learning_rate": 2e-4}),  # the lab's own setting
        *map(spell, VARIANTS),
    ),
    conditions={"dora": ("lora_init", ("uniform",))},
)
