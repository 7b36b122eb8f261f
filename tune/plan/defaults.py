"""What flags left to `auto` mean for a sweep, and why a value is refused."""

from collections.abc import Sequence
from itertools import pairwise

from optuna.distributions import CategoricalDistribution

from search_spaces.space import Space
from trainable.result import OBJECTIVE
from trainable.trial import ConfigError, TrialConfig
from tune.plan.played_race import expect_turnout
from tune.search.config import RUNG_METRICS, SweepConfig
from tune.search.confirm import count_fresh_seeds
from tune.search.profiles import SCALES

TEXT_FIELDS = ("corpus", "layout", "response", "target")  # decide the text that is learnt
CONFIRMED = (5, 3)  # points at most: of a question with choices, and of one without
CHEAP = 0.25  # of the turns that a sweep is expected to train on


def choose_rung_metric(
    wanted: str, configs: Sequence[TrialConfig], asha: str, objective: str = OBJECTIVE
) -> str:
    """`wanted`: auto, loss, objective or (where it is that) combined. auto is the loss where rungs
    decide anything and the losses of all trials compare. `configs`: the corners of the space.
    Raises ConfigError."""
    own = OBJECTIVE if objective == OBJECTIVE else "objective"
    if wanted not in ("auto", "loss", "objective", own):
        raise ConfigError(
            f"--rung-metric must be one of auto, {', '.join(RUNG_METRICS)}, not {wanted!r}"
            if wanted != OBJECTIVE
            else f"--rung-metric combined needs --objective combined, not {objective}"
        )
    if objective == "loss":
        return "loss"
    why = why_no_loss(configs)
    if wanted == "loss" and why is not None:
        raise ConfigError(
            f"--rung-metric loss cannot compare these trials ({why}): start a new sweep with "
            f"--rung-metric {own}"
        )
    if wanted != "auto":
        return "loss" if wanted == "loss" else own
    return own if why is not None or asha == "off" else "loss"


def why_no_loss(configs: Sequence[TrialConfig]) -> str | None:
    """Why their losses do not compare; None: they do."""
    if any(c.method == "none" or not c.train_turns for c in configs):
        return "some train nothing"
    differing = [n for n in TEXT_FIELDS if len({getattr(c, n) for c in configs}) > 1]
    return f"{' and '.join(differing)} change the text that is learnt" if differing else None


def choose_confirmed(wanted: int | None, config: SweepConfig, space: Space) -> int:
    """How many of the best points are confirmed with fresh seeds: as many as is wanted. Without a
    wish, the best of every choice that the space's question has, or fewer where all take too long
    beside the sweep itself. The embedded model's whole sweep takes a minute: there all are."""
    if wanted is not None:
        return wanted
    choices = count_choices(space)
    most = min(choices, CONFIRMED[0]) if choices else CONFIRMED[1]
    if config.profile == "tiny" and config.trials >= SCALES["tiny"]["trials"]:
        return most
    spent = count_turns(config)
    for points in range(most, 1, -1):  # one alone would be compared with nothing
        if sum(count_fresh_seeds(points)) * config.train_turns <= CHEAP * spent:
            return points
    return 0


def count_choices(space: Space) -> int:
    """Of the field that the space's question is about; 0: that is a number."""
    asked = space.searched.get(space.name, next(iter(space.searched.values()), None))
    return len(asked.choices) if isinstance(asked, CategoricalDistribution) else 0


def count_turns(config: SweepConfig) -> float:
    """System turns that the sweep is expected to train on, confirmations left out."""
    milestones = (0, *config.rungs_turns, config.train_turns)
    steps = [after - before for before, after in pairwise(milestones)]
    return sum(n * step for n, step in zip(expect_turnout(config).reached, steps, strict=True))


def check_calibration(
    bias: float | None, configs: Sequence[TrialConfig], objective: str = OBJECTIVE
) -> None:
    """Raises ConfigError where one fixed placeholder_bias has no meaning beside the headline."""
    if bias is None:
        return
    if objective != OBJECTIVE:
        raise ConfigError(
            f"--calibrate scores every trial's Combined once more, and this sweep's objective is "
            f"{objective}: leave it out"
        )
    if any(c.response == "lexicalised" for c in configs):
        raise ConfigError(
            "--calibrate biases placeholders, and lexicalised replies have none: leave it out"
        )
    if any(c.placeholder_bias for c in configs):
        raise ConfigError(
            "--calibrate scores every trial under one placeholder_bias beside an unbiased one, and "
            "this sweep has biases of its own: leave out --calibrate, or placeholder_bias"
        )
