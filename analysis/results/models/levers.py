"""Levers of quality, each alone and two together, from the best setting of the sweep SEARCH; of
them those in LEVERS (names between commas), or all. What they are held against is the stage
`tuned`: the same setting, length and seeds without a lever."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from best import FOUND, RATE
from optuna.distributions import CategoricalDistribution, FloatDistribution

from search_spaces.space import Space

Point = dict[str, str | bool]
PLAIN: Point = {"target": "response", "requests": False, "context": FOUND.pop("context")}
PLAN: Point = {"target": "plan+response"}
ACTS: Point = {"target": "acts+response"}
ASKED: Point = {"requests": True}
BOOKED: Point = {"context": "history+state+db+booked"}
LEVERS = {
    "plan": PLAN,
    "acts": ACTS,
    "asked": ASKED,
    "plan asked": {**PLAN, **ASKED},
    "booked": BOOKED,
    "plan booked": {**PLAN, **BOOKED},
}
CHOSEN = os.environ.get("LEVERS", ",".join(LEVERS)).split(",")

SPACE = Space(
    name="levers",
    question="Do a plan before the reply, and what was asked or booked in the prompt, help?",
    searched={
        "target": CategoricalDistribution(("response", "plan+response", "acts+response")),
        "requests": CategoricalDistribution((False, True)),
        "context": CategoricalDistribution((PLAIN["context"], BOOKED["context"])),
        "learning_rate": FloatDistribution(1e-6, 1.0, log=True),
    },
    fixed=FOUND,
    first=tuple({**PLAIN, **LEVERS[name], **RATE} for name in CHOSEN),
)
