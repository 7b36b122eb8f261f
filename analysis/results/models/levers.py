"""Levers of quality, each alone and two together, from the best setting of the sweep SEARCH. What
they are held against is the stage `tuned`: the same setting, length and seeds without a lever."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from best import FOUND, RATE
from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.space import Space

PLAN = {"target": "plan+response", "requests": False}
ASKED = {"target": "response", "requests": True}
BOTH = {"target": "plan+response", "requests": True}

SPACE = Space(
    name="levers",
    question="Do a plan before the reply, and what was asked in the prompt, help?",
    searched={
        "target": CategoricalDistribution(("response", "plan+response")),
        "requests": CategoricalDistribution((False, True)),
        "learning_rate": FloatDistribution(1e-6, 1.0, log=True),
    },
    fixed=FOUND,
    first=tuple({**lever, **RATE} for lever in (PLAN, ASKED, BOTH)),
)
