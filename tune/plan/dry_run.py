"""What a sweep would do and cost, for --dry-run: nothing is written."""

from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from analysis.labels import format_hours
from search_spaces.space import Space
from trainable.result import ValidationRequest
from tune.folder.disk import format_bytes
from tune.plan.checks import check_space
from tune.plan.estimate import Estimate
from tune.search.config import SweepConfig
from tune.search.confirm import describe_fresh_seeds
from tune.search.milestones import list_milestones

UNITS = {"GPU": "GPU-hours", "core": "hours of one core"}


def describe_plan(config: SweepConfig, space: Space, cost: Estimate) -> str:
    """The resolved space, the fixed values, the rungs, and the estimate with its assumptions."""
    return "\n".join(
        [
            "",
            "searched:",
            *(f"  {name}: {describe_distribution(d)}" for name, d in space.searched.items()),
            *_describe_conditions(space),
            "fixed:",
            *(f"  {name}: {value}" for name, value in list_fixed(config, space).items()),
            "first points:",
            *(f"  {', '.join(f'{n}={v}' for n, v in point.items())}" for point in space.first),
            "rungs:",
            *_describe_rungs(config, cost),
            "estimate:",
            f"  {summarise(cost)}",
            *_describe_again(config, cost),
            *(f"  assumed: {line}" for line in cost.assumes),
            "  left out: starting workers and loading models, trials that fail, the untuned base",
        ]
    )


def summarise(cost: Estimate) -> str:
    """One line: hours and disk."""
    hours = format_hours(cost.hours, UNITS[cost.unit])
    trials = "one trial" if cost.room == 1 else f"{cost.room} trials"
    return (
        f"about {hours}, {trials} at a time; disk: about "
        f"{format_bytes(cost.disk.peak)} at its fullest (at most {format_bytes(cost.disk.most)}), "
        f"{format_bytes(cost.disk.kept)} when it has ended"
    )


def describe_distribution(distribution: BaseDistribution) -> str:
    """
    >>> from optuna.distributions import FloatDistribution, IntDistribution
    >>> describe_distribution(FloatDistribution(1e-4, 3e-2, log=True))
    '0.0001 to 0.03, logarithmic'
    >>> describe_distribution(IntDistribution(2, 8, step=2))
    '2 to 8 in steps of 2'
    """
    if isinstance(distribution, CategoricalDistribution):
        return " | ".join(map(str, distribution.choices))
    d: Any = distribution
    steps = f" in steps of {d.step}" if d.step not in (None, 1) else ""
    return f"{d.low:g} to {d.high:g}{', logarithmic' if d.log else ''}{steps}"


def list_fixed(config: SweepConfig, space: Space) -> dict[str, Any]:
    """The fields that are not searched, with those that exist for some of the trials only."""
    fixed: dict[str, Any] = {}
    for trial in check_space(space, config.base):
        fixed |= {n: v for n, v in trial.to_dict().items() if n not in space.searched}
    return fixed


def _describe_conditions(space: Space) -> list[str]:
    return [
        f"  {name} only with {decider} {' or '.join(map(str, values))}"
        for name, (decider, values) in space.conditions.items()
    ]


def describe_validation(asked: ValidationRequest) -> str:
    n = asked.n_dialogues
    dialogues = "all dialogues" if n is None else f"{n} dialogues"
    again = "" if asked.bias is None else f", once more with placeholder_bias {asked.bias}"
    return f"{dialogues}{again}" if asked.replies else f"the loss on {dialogues}"


def _describe_again(config: SweepConfig, cost: Estimate) -> list[str]:
    n_again = max(cost.turnout.again)
    if n_again < 1 / 2:
        return []
    return [
        f"  about {n_again:.0f} trials train again up to their rung once promoted: who waits keeps "
        f"{config.parked_gib:g} GiB in all (--parked-gib)"
    ]


def _describe_rungs(config: SweepConfig, cost: Estimate) -> list[str]:
    milestones = list_milestones(config, config.train_turns)
    width = len(str(config.train_turns))
    lines = [
        f"  {m.turns:>{width}} turns, {describe_validation(m.asked)}: about {n:.0f} of "
        f"{config.trials} trials"
        for m, n in zip(milestones, cost.turnout.reached, strict=True)
    ]
    rule = {
        "stop": f"the best 1/{config.eta:g} so far go on",
        "promote": f"the best 1/{config.eta:g} are promoted",
        "off": "no trial is stopped",
    }
    lines.append(f"  asha {config.asha}: {rule[config.asha]}")
    if config.confirm:
        lines.append(
            f"  then the best {config.confirm} points once more, one of every choice first: "
            f"{describe_fresh_seeds(config.confirm)}, to the end, on all dialogues"
        )
    return lines
