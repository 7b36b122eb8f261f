"""The best setting of the sweep SEARCH, with other seeds."""

import os

from optuna.distributions import FloatDistribution

from analysis.ranking import find_best
from analysis.records import find_sweep, read_sweep
from search_spaces.space import Space

records = read_sweep(find_sweep(os.environ["SEARCH"]))
best = find_best(records)
assert best is not None, "the search has no evaluation yet"
FOUND = {**records.space["fixed"], **best.trial.params}
RATE = {"learning_rate": FOUND.pop("learning_rate")}
for name in ("corpus", "base_model"):  # a stage's own
    FOUND.pop(name, None)

SPACE = Space(
    name="best",
    question="What is the best setting worth with other seeds?",
    searched={"learning_rate": FloatDistribution(1e-6, 1.0, log=True)},
    fixed=FOUND,
    first=(RATE,),
)
