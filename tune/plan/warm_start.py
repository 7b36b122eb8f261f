"""First points from earlier sweeps, whatever their models and corpora were."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from analysis.choice import rank_points
from analysis.records import SweepRecords, find_sweep, read_sweep
from search_spaces.conditions import list_deciders
from search_spaces.distributions import contains
from search_spaces.space import Space
from trainable.trial import ConfigError

POINTS = 3  # of every earlier sweep


def warm_start(space: Space, names: Iterable[str], storage: str) -> Space:
    """The space whose first points are the best of those sweeps, in turns, each with the searched
    fields that it has here; then the space's own. Raises ConfigError where a sweep has none."""
    found = [list_best(space, read_sweep(find_sweep(name, storage))) for name in names]
    points = [point for rank in zip_longest(*found) for point in rank if point is not None]
    unique = [p for i, p in enumerate(points) if p not in points[:i]]
    return replace(space, first=(*unique, *(p for p in space.first if p not in unique)))


def list_best(space: Space, records: SweepRecords) -> list[dict[str, Any]]:
    """The best points that mean something here, at most POINTS."""
    points: list[dict[str, Any]] = []
    for ranked in rank_points(records):
        point = {} if ranked.trial.is_base else translate(space, ranked.trial.config)
        if point and point not in points:
            points.append(point)
    if not points:
        raise ConfigError(
            f"--warm-start {records.name} has no scored trial with {', '.join(space.searched)} as "
            "they are searched here: leave it out"
        )
    return points[:POINTS]


def translate(space: Space, config: Mapping[str, Any]) -> dict[str, Any]:
    """The searched fields whose values the trial has and this space could draw. Lengths and seeds
    are the sweep's own."""
    own = {n: d for n, d in space.searched.items() if n not in ("train_turns", "seed")}
    values = {n: config[n] for n, d in own.items() if n in config and contains(d, config[n])}
    return {name: value for name, value in values.items() if is_decided(space, name, values)}


def is_decided(space: Space, name: str, values: Mapping[str, Any]) -> bool:
    """Whether all that decides on the field's meaning is in the point, where it is searched."""
    deciders = {decider for decider, _ in list_deciders(name, space.conditions)}
    return not (deciders & set(space.searched)) - set(values)
