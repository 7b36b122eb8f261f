"""How should replies be decoded? One trained adapter, or the untuned model; nothing is trained.

The adapter is given by `--set adapter=FOLDER` (a checkpoint of an earlier sweep will do).
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.space import Space

PLAIN = {
    **{"min_new_tokens": 0, "placeholder_bias": 0.0},
    **{"repetition_penalty": 1.0, "no_repeat_ngram_size": 0},
}
GREEDY = {"decoding": "greedy", **PLAIN}
SAMPLING = {
    **{"decoding": "sampling", **PLAIN},
    **{"temperature": 1.0, "top_k": 50, "top_p": 1.0, "typical_p": 1.0},
}
BEAM = {"decoding": "beam", **PLAIN, "num_beams": 4, "length_penalty": 1.0}
CONTRASTIVE = {"decoding": "contrastive", **PLAIN, "top_k": 4, "penalty_alpha": 0.6}

SPACE = Space(
    name="decoding",
    question="How much do greedy, sampled, beam and contrastive decoding of one model differ?",
    searched={
        "decoding": CategoricalDistribution(("greedy", "sampling", "beam", "contrastive")),
        "min_new_tokens": IntDistribution(0, 20),  # longer replies inform more
        "placeholder_bias": FloatDistribution(0.0, 2.0),  # and so do those with more placeholders
        "repetition_penalty": FloatDistribution(1.0, 1.5),
        "no_repeat_ngram_size": CategoricalDistribution((0, 3, 4, 5)),
        "temperature": FloatDistribution(0.2, 1.5),
        "top_k": IntDistribution(2, 64, log=True),
        "top_p": FloatDistribution(0.5, 1.0),
        "typical_p": FloatDistribution(0.2, 1.0),
        "num_beams": IntDistribution(2, 8),
        "length_penalty": FloatDistribution(-1.0, 2.0),
        "penalty_alpha": FloatDistribution(0.0, 1.0),
    },
    fixed={"method": "none", "train_turns": 0},
    first=(
        GREEDY,  # the lab's own setting
        SAMPLING,
        {**SAMPLING, "top_p": 0.9},
        BEAM,
        CONTRASTIVE,  # as in Su et al. 2022
        {**GREEDY, "repetition_penalty": 1.2},
        {**GREEDY, "min_new_tokens": 10},
        {**GREEDY, "placeholder_bias": 1.0},
        {**BEAM, "placeholder_bias": 1.0},
    ),
)
