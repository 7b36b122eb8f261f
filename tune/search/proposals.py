"""The next point to try: Optuna's TPE (or another sampler) on everything that is known.

A proposal is a function of (space, history, seed, number) alone: the study is laid out anew from
the history each time and the sampler is seeded with the number. So a search that was killed and
built again from its records proposes what the undisturbed one would have.
"""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import nlargest
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from search_spaces.distributions import contains
from search_spaces.enumeration import list_points
from search_spaces.space import Draw, Space
from trainable.trial import ConfigError, nearest
from tune.search.config import SAMPLERS

RANDOM_TRIALS = 8  # before the model of what is good means anything
TPE_ATTEMPTS, ATTEMPTS = 8, 400  # at a point that was not tried yet
LATEST, BEST = 100, 25  # trials that the model is made of, where there are more: TPE takes 25 for
# good, and weighs the others the less the older they are
ANY_TIME = datetime(2000, 1, 1)  # nobody asks when a trial ran
LEARNING = ("tpe", "gp")  # samplers that a history tells something
GRID_VALUES = 5  # of a continuous field
INFEASIBLE = "runs"  # Optuna's constraint: above 0 where a trial cannot run at all

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """One trial as the sampler sees it. PRUNED is compared at its last step only, and only with
    others there: fidelities never mix."""

    params: Mapping[str, Any]
    state: str  # COMPLETE | PRUNED | FAIL | RUNNING
    steps: Mapping[int, float] = field(default_factory=dict)  # milestone in turns -> score
    infeasible: bool = False  # it failed by its own doing: diverged, or no memory
    # asked for at every proposal: its point, its last step and the score there
    key: str = field(init=False, repr=False, compare=False)
    reached: tuple[int, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", _key(self.params))
        object.__setattr__(self, "reached", max(self.steps.items(), default=(-1, 0.0)))


def propose(
    space: Space,
    history: Sequence[Tried],
    seed: int,
    number: int,
    *,
    sampler: str = SAMPLERS[0],
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """A point of the space not tried before, first points first (or the `given` one, made whole);
    None when there is none left."""
    taken = {t.key for t in history}
    first = given or _find_first(space, history, taken)
    if first is not None and (whole := _complete(space, first)) and _key(whole) not in taken:
        return whole
    gridded = make_grid(space) if sampler == "grid" else space
    past = [_freeze(space, t) for t in _select(history)] if sampler in LEARNING else []
    for attempt in range(ATTEMPTS):
        learns = attempt < TPE_ATTEMPTS
        study = optuna.create_study(
            direction="maximize",
            sampler=_open_sampler(sampler if learns else "random", seed, number, attempt),
        )
        study.add_trials(past if learns else ())
        if first is not None and learns:
            study.enqueue_trial(dict(first))
        point = (space if first and learns else gridded).sample(_suggest_with(study.ask()))
        if _key(point) not in taken:
            return point
    return next((point for point in list_points(gridded) if _key(point) not in taken), None)


def check_point(space: Space, given: Mapping[str, Any]) -> None:
    """Raises ConfigError unless the space could draw those values."""
    if not given:
        raise ConfigError("a proposal needs a point: give --set FIELD=VALUE")
    for name, value in given.items():
        if name not in space.searched:
            raise ConfigError(
                f"{name} is not searched by this sweep{nearest(name, space.searched)}: a clone "
                "may have any value"
            )
        if not contains(space.searched[name], value):
            raise ConfigError(
                f"{name}={value!r} lies outside what is searched ({space.searched[name]}): a "
                "clone may have any value"
            )


def make_grid(space: Space) -> Space:
    """The space with GRID_VALUES of each continuous field, evenly spread (by its logarithm where
    it is searched so)."""
    searched = {n: list_grid(d) for n, d in space.searched.items()}
    return replace(space, searched=searched, first=())


def list_grid(distribution: BaseDistribution) -> BaseDistribution:
    d: Any = distribution
    if not isinstance(d, FloatDistribution) or d.step is not None:
        return distribution
    shares = [n / (GRID_VALUES - 1) for n in range(GRID_VALUES)]
    if d.log:
        return CategoricalDistribution([d.low * (d.high / d.low) ** share for share in shares])
    return CategoricalDistribution([d.low + (d.high - d.low) * share for share in shares])


def draw(space: Space, seed: int, n: int) -> tuple[dict[str, Any], ...]:
    """n points at random."""
    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    return tuple(space.sample(_suggest_with(study.ask())) for _ in range(n))


def _open_sampler(name: str, seed: int, number: int, attempt: int) -> BaseSampler:
    own_seed = (seed * 1_000_003 + number) * 1_009 + attempt
    if name in ("random", "grid"):
        return RandomSampler(seed=own_seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "gp":
            return GPSampler(n_startup_trials=RANDOM_TRIALS, seed=own_seed % 2**32)
        return TPESampler(
            n_startup_trials=RANDOM_TRIALS,
            multivariate=True,
            group=True,
            constant_liar=True,
            seed=own_seed % 2**32,
        )


def _suggest_with(draw: Draw) -> Any:
    def choose(name: str, d: BaseDistribution) -> Any:
        if isinstance(d, FloatDistribution):
            return draw.suggest_float(name, d.low, d.high, step=d.step, log=d.log)
        if isinstance(d, IntDistribution):
            return draw.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
        assert isinstance(d, CategoricalDistribution)
        return draw.suggest_categorical(name, d.choices)

    return choose


def _select(history: Sequence[Tried]) -> Sequence[Tried]:
    """What a model of bounded cost is made of, in order: the latest trials, the best of the others,
    and whatever runs."""
    older, latest = history[:-LATEST], history[-LATEST:]
    scored = (i for i, t in enumerate(older) if t.steps and not t.infeasible and t.state != "FAIL")
    best = nlargest(BEST, scored, key=lambda i: older[i].reached)
    kept = {*best, *(i for i, t in enumerate(older) if t.state == "RUNNING")}
    return [*(older[i] for i in sorted(kept)), *latest]


class _Past(FrozenTrial):
    """A trial of a study that is made for one question: laid in as it is, thousands a proposal.
    Its values are the space's own."""

    def __deepcopy__(self, memo: Any) -> FrozenTrial:
        return self

    def _validate(self) -> None: ...


def _freeze(space: Space, tried: Tried) -> FrozenTrial:
    params = {n: v for n, v in tried.params.items() if n in space.searched}
    last = tried.reached[1] if tried.steps else None
    state = TrialState.PRUNED if tried.infeasible else TrialState[tried.state]
    trial = _Past(
        number=-1,  # as in the study
        trial_id=-1,
        state=state,
        value=last if state == TrialState.COMPLETE else None,
        datetime_start=ANY_TIME,
        datetime_complete=ANY_TIME if state.is_finished() else None,
        params=params,
        distributions={name: space.searched[name] for name in params},
        user_attrs={},
        system_attrs={},
        intermediate_values=dict(tried.steps),
    )
    if tried.infeasible:  # the others violate nothing
        trial.set_constraint(INFEASIBLE, 1.0)
    return trial


def _find_first(
    space: Space, history: Sequence[Tried], taken: Container[str]
) -> Mapping[str, Any] | None:
    """The next of the space's first points."""
    for point in space.first:
        if _key(point) in taken:
            continue
        if not any(all(t.params.get(n) == v for n, v in point.items()) for t in history):
            return point
    return None


def _complete(space: Space, point: Mapping[str, Any]) -> dict[str, Any] | None:
    """The point without the fields that have no meaning; None if some are left to choose."""
    try:
        return space.sample(lambda name, _: point[name])
    except KeyError:
        return None


def _key(params: Mapping[str, Any]) -> str:
    """The same of equal points. Thousands are kept, and looked up by every proposal: a string
    hashes itself once."""
    numbered = {n: v + 0.0 if isinstance(v, int | float) else v for n, v in params.items()}
    return repr(sorted(numbered.items()))
