"""Which variant of LoRA is worth it? All of the same parameters: a rank of 16, or ranks that go by
depth and are 16 on the mean (of an even number of blocks)."""

from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.space import Space

PLAIN = {
    **{"lora_init": "uniform", "dora": False, "lora_plus_ratio": 1.0},
    **{"neftune_alpha": 0.0, "rank_pattern": "all-linear=16"},
}
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"lora_plus_ratio": 4.0},
    {"lora_plus_ratio": 16.0},  # as in arXiv 2402.12354
    {"lora_init": "pissa"},
    {"dora": True},
    {"neftune_alpha": 5.0},  # as in arXiv 2310.05914
    {"rank_pattern": "first-half=24,last-half=8"},
    {"rank_pattern": "first-half=8,last-half=24"},
    {"rank_pattern": "every-second=28,all-linear=4"},
)


def spell(variant: dict[str, Any], rate: float) -> dict[str, Any]:
    """A point. DoRA's norms take whole weights: it does not exist with PiSSA."""
    point = {**PLAIN, **variant, "learning_rate": rate}
    if point["lora_init"] == "pissa":
        del point["dora"]
    return point


SPACE = Space(
    name="methods",
    question="Which variant of LoRA is worth it, at equal parameters?",
    searched={
        "lora_init": CategoricalDistribution(("uniform", "pissa")),
        "dora": CategoricalDistribution((False, True)),
        "lora_plus_ratio": FloatDistribution(1.0, 32.0, log=True),
        "neftune_alpha": FloatDistribution(0.0, 15.0),
        "rank_pattern": CategoricalDistribution(
            tuple(dict.fromkeys(str({**PLAIN, **v}["rank_pattern"]) for v in VARIANTS))
        ),
        "learning_rate": FloatDistribution(1e-4, 3e-2, log=True),
    },
    fixed={"lora_rank": 16},
    first=(
        spell({}, 2e-4),  # the lab's own setting
        *(spell(variant, 5e-3) for variant in VARIANTS),
    ),
    conditions={"dora": ("lora_init", ("uniform",))},
)
