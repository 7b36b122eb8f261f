"""Which variant? Each at the rate that gave it the lowest loss in `rates`; what costs more a turn
also for the time that plain LoRA takes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from optuna.distributions import CategoricalDistribution
from points import ARMS, CONDITIONS, SEARCHED, list_lengths, name_of, spell

from analysis.records import find_sweep, read_sweep
from search_spaces.space import Space


def find_rates() -> dict[str, float]:
    trials = [t for t in read_sweep(find_sweep("rates")).proposed if t.evals]
    trials.sort(key=lambda t: t.evals[-1].nats_per_word or 0.0, reverse=True)
    return {name_of(t.params): t.params["learning_rate"] for t in trials}  # the lowest comes last


RATE_OF, LENGTHS = find_rates(), list_lengths()
ALL_LENGTHS = sorted({turns for own in LENGTHS.values() for turns in own})

SPACE = Space(
    name="methods",
    question="Which variant of LoRA is worth it, at equal parameters and at equal time?",
    searched={**SEARCHED, "train_turns": CategoricalDistribution(tuple(ALL_LENGTHS))},
    first=tuple(
        {**spell(name, RATE_OF[name]), "train_turns": turns}
        for name in ARMS
        for turns in LENGTHS[name]
    ),
    conditions=CONDITIONS,
)
