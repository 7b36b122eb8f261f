"""Levers of quality, each alone and two together, from the best setting of the sweep SEARCH."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from best import FOUND, RATE
from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.space import Space

PLAIN = {"target": "response", "requests": False}
LEVERS = (PLAIN, {**PLAIN, "target": "plan+response"}, {**PLAIN, "requests": True})
BOTH = {"target": "plan+response", "requests": True}
FIXED = {name: value for name, value in FOUND.items() if name != "context"}

SPACE = Space(
    name="levers",
    question="Do a plan before the reply, and what was asked in the prompt, help?",
    searched={
        "target": CategoricalDistribution(("response", "plan+response")),
        "requests": CategoricalDistribution((False, True)),
        "learning_rate": FloatDistribution(1e-6, 1.0, log=True),
    },
    fixed={**FIXED, "context": "history+state+db"},  # requests stand in the state
    first=tuple({**lever, **RATE} for lever in (*LEVERS, BOTH)),
)
