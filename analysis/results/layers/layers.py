"""Which layers? Every selection at the rate that gave it the lowest loss in `rates` or `higher`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from points import ARMS, SEARCHED, key_of

from analysis.records import find_sweep, read_sweep
from search_spaces.space import Space


def find_rates() -> dict[tuple[str, int], float]:
    sweeps = [read_sweep(find_sweep(name)) for name in ("rates", "higher")]
    trials = [t for sweep in sweeps for t in sweep.proposed if t.evals]
    trials.sort(key=lambda t: t.evals[-1].nats_per_word or 0.0, reverse=True)
    return {key_of(t.params): t.params["learning_rate"] for t in trials}  # the lowest comes last


RATE_OF = find_rates()

SPACE = Space(
    name="layers",
    question="Which of the base model's linear layers should carry a LoRA adapter?",
    searched=SEARCHED,
    first=tuple({**arm, "learning_rate": RATE_OF[key_of(arm)]} for arm in ARMS),
)
