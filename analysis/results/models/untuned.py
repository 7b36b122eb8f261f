"""The model as it is: LAYOUTS (of a base model lines alone), without and with an instruction."""

import os

from optuna.distributions import CategoricalDistribution

from search_spaces.instruction import INSTRUCTIONS
from search_spaces.space import Space

LAYOUTS = tuple(os.environ["LAYOUTS"].split())
TOLD = (INSTRUCTIONS[0], INSTRUCTIONS[-1])  # not told, told all

SPACE = Space(
    name="untuned",
    question="What does the model answer without any finetuning?",
    searched={
        "layout": CategoricalDistribution(LAYOUTS),
        "instruction": CategoricalDistribution(TOLD),
    },
    fixed={"method": "none", "train_turns": 0, "context": "history+state+db"},
    first=tuple({"layout": layout, "instruction": told} for layout in LAYOUTS for told in TOLD),
)
