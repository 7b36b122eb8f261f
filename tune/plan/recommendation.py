"""A setting without a search, and what it is expected to be worth, from what earlier sweeps saw."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from optuna.distributions import FloatDistribution

from search_spaces.distributions import contains
from search_spaces.space import Space
from trainable.model.packable import names_toy
from trainable.model.source import EMBEDDED
from trainable.trial import ConfigError
from tune.plan.evidence import (
    CHOICES,
    EXPONENTS,
    UNKNOWN_PARAMS,
    RecordedPoint,
    predict,
    read_packaged,
    solve_rate,
    to_point,
)

RATE = "learning_rate"
ALIKE = 3.0  # times the parameters: another size
EDGE_DECADES = 0.1  # of the effective rate


@dataclass(frozen=True, kw_only=True)
class LeftOutSweep:
    """A sweep left out: what the rule, made of the others, would have chosen of its points."""

    sweep: str
    points: int
    picked: float  # gap of the point chosen: the regret
    random: float  # mean gap of its points
    gaps: tuple[float, ...]  # of all, the least first

    def gain(self, trials: int) -> float:
        """Expected of so many random points beside the chosen one, all trained to their end."""
        n, drawn = len(self.gaps), min(trials, len(self.gaps))
        chances = [math.comb(n - k - 1, drawn - 1) / math.comb(n, drawn) for k in range(n)]
        left = [max(self.picked - gap, 0.0) for gap in self.gaps]
        return sum(p * gain for p, gain in zip(chances, left, strict=True))


def recommend(
    space: Space, base: Mapping[str, Any], params: float, seen: Sequence[RecordedPoint]
) -> dict[str, Any]:
    """The point of the space with the least gap predicted: one of those seen, its rate settled for
    this model and for what the space leaves as it is. Raises ConfigError where none fits."""
    points = [p for p in (adopt(space, base, params, one) for one in seen) if p is not None]
    if not points:
        raise ConfigError(
            f"no point that earlier sweeps saw lies in the space {space.name}: take another --space"
        )
    whole = [to_point({**base, **space.fixed, **point}, params) for point in points]
    gaps = predict(whole, seen)
    return points[int(gaps.argmin())]


def adopt(
    space: Space, base: Mapping[str, Any], params: float, seen: RecordedPoint
) -> dict[str, Any] | None:
    """The seen setting as far as the space searches it; None where it could not draw that."""
    own = {n: seen.config[n] for n in space.searched if n in seen.config and n != RATE}
    own = {n: float(f"{v:.2g}") if isinstance(v, float) else v for n, v in own.items()}
    if not all(contains(space.searched[name], value) for name, value in own.items()):
        return None
    start = dict(space.first[0]) if space.first else {}
    point = {**{n: start[n] for n in space.searched if n in start}, **own}
    return settle_rate(space, base, params, point, seen.point.rate)


def settle_rate(
    space: Space, base: Mapping[str, Any], params: float, point: Mapping[str, Any], rate: float
) -> dict[str, Any] | None:
    """The point with the learning rate that has this effective rate under all its other fields,
    as near as the space goes; None where it lacks one of them."""
    config = {**base, **space.fixed, **point}
    if any(config.get(name) is None for name in (*EXPONENTS, *CHOICES)):
        return None
    d = space.searched.get(RATE)
    if not isinstance(d, FloatDistribution):
        return dict(point) if config.get(RATE) else None
    found = float(f"{solve_rate(rate, config, params):.2g}")
    return {**point, RATE: min(max(found, d.low), d.high)}


def start_well(space: Space, base: Mapping[str, Any]) -> Space:
    """The space with first points that evidence speaks for: its first, the lab's own; the one
    recommended; and its others, at the recommended effective rate. As it is where it searches no
    learning rate, or trains something other than LoRA on pretrained weights; and for the embedded
    model, on which the spaces' own first rates were chosen (analysis/results/recommend)."""
    known = {**base, **space.fixed}
    if known["base_model"] == EMBEDDED:
        return space
    fixed = {"method": "lora", "initialisation": "pretrained"}
    if RATE not in space.searched or any(known.get(n, v) != v for n, v in fixed.items()):
        return space
    if {"method", "initialisation", "base_model"} & set(space.searched) or not space.first:
        return space
    params, seen = count_params(str(known["base_model"])), read_packaged()
    try:
        best = recommend(space, base, params, seen)
    except ConfigError:
        return space
    rate = to_point({**known, **best}, params).rate
    lab, *others = space.first
    moved = [settle_rate(space, base, params, p, rate) if RATE in p else p for p in others]
    points = [lab, best, *(new or old for new, old in zip(moved, others, strict=True))]
    return replace(space, first=tuple(p for i, p in enumerate(points) if p not in points[:i]))


def count_params(base_model: str) -> float:
    """As far as it can be told without a download that fails."""
    if names_toy(base_model):
        return UNKNOWN_PARAMS
    from trainable.model.sizes import read_sizes

    try:
        return float(read_sizes(base_model).total_params)
    except ConfigError:
        return UNKNOWN_PARAMS


def leave_one_out(seen: Sequence[RecordedPoint]) -> list[LeftOutSweep]:
    """Each sweep in turn, judged by the rule that the others make; of one sweep alone nothing can
    be told."""
    names = list(dict.fromkeys(one.sweep for one in seen))
    held = []
    for name in names if len(names) > 1 else ():
        own = [one for one in seen if one.sweep == name]
        others = [one for one in seen if one.sweep != name]
        chosen = own[int(predict([one.point for one in own], others).argmin())]
        gaps = tuple(sorted(one.gap for one in own))
        held.append(
            LeftOutSweep(
                sweep=name, points=len(own), picked=chosen.gap, random=fmean(gaps), gaps=gaps
            )
        )
    return held


def find_doubt(config: Mapping[str, Any], params: float, seen: Sequence[RecordedPoint]) -> str:
    """Why the rate of a recommended config may be wrong: recorded settings of models of about this
    size do not reach past it. Empty where they do."""
    alike = [one for one in seen if 1 / ALIKE < one.params / params < ALIKE]
    if not alike:
        known = " and ".join(f"{p / 1e6:,.0f}M" for p in sorted({one.params for one in seen}))
        return f"no recorded sweep is of a model of this size, only of {known}"
    rate, rates = to_point(config, params).rate, [one.point.rate for one in alike]
    if rate > max(rates) - EDGE_DECADES:
        return "no recorded setting of a model of this size had a higher rate in effect"
    if rate < min(rates) + EDGE_DECADES:
        return "no recorded setting of a model of this size had a lower rate in effect"
    return ""
