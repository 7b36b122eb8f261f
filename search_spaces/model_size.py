"""How much does a larger base model buy? Sizes of one family, and the lab's, on equal turns.

A size that does not fit the GPU is recorded as a failed trial with its reason.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.space import Space

PYTHIA = tuple(
    f"EleutherAI/pythia-{size}"
    for size in ("70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b", "12b")
)
LAB_MODEL = "huggyllama/llama-7b"

SPACE = Space(
    name="model_size",
    question="How do the scores grow with the parameters of the base model, at equal training?",
    searched={
        "base_model": CategoricalDistribution((*PYTHIA, LAB_MODEL)),
        "learning_rate": FloatDistribution(1e-4, 3e-3, log=True),  # smaller models want more
    },
    first=(
        {"base_model": LAB_MODEL, "learning_rate": 2e-4},  # the lab's own setting
        *({"base_model": name, "learning_rate": 1e-3} for name in (*PYTHIA, LAB_MODEL)),
    ),
)
