"""Decoder alone, or encoder and decoder? Two families of like sizes under the same adapter."""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.space import Space

DECODERS = tuple(f"EleutherAI/pythia-{size}" for size in ("70m", "160m", "410m", "1b"))
ENCODER_DECODERS = tuple(f"google/flan-t5-{size}" for size in ("small", "base", "large"))

SPACE = Space(
    name="architecture",
    question="Does an encoder-decoder answer better than a decoder of the same size?",
    searched={
        "base_model": CategoricalDistribution((*DECODERS, *ENCODER_DECODERS)),
        "learning_rate": FloatDistribution(1e-4, 3e-3, log=True),
    },
    fixed={"quantisation": "bf16"},  # no question of 4 bits: sizes that fit any GPU
    first=(
        {"base_model": DECODERS[2], "learning_rate": 2e-4},  # at the lab's own rate
        *({"base_model": name, "learning_rate": 1e-3} for name in (*DECODERS, *ENCODER_DECODERS)),
    ),
)
