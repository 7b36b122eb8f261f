"""How far arms with several seeds are from `tuned`, the same without a lever: paired by seed and by
dialogue, with 95 % intervals corrected (Bonferroni) for all arms that are held against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from arms import Arm

from analysis.claims.quantiles import t_quantile
from analysis.claims.variance import Design, Noise, find_half_width
from analysis.claims.variance import estimate_noise as estimate
from analysis.noise import draw_values

PLAIN = "tuned"
Read = Callable[[Mapping[str, Any]], float]


def read_combined(values: Mapping[str, Any]) -> float:
    return float(values["combined"])


def read_f1(values: Mapping[str, Any]) -> float:
    return float((values["placeholders"] or {}).get("f1") or 0.0)


def find_intervals(arms: Sequence[Arm]) -> dict[str, float]:
    """arm -> half of the interval of its Combined, over seeds and dialogues, of one system over
    dialogues; of arms that were asked the same dialogues."""
    single = {a.name: a.values[0]["intervals"]["combined"] for a in arms if len(a.seeds) == 1}
    halves = {name: (high - low) / 2 for name, (low, high) in single.items()}
    repeated = [arm for arm in arms if len(arm.seeds) > 1]
    if repeated:
        found = estimate_noise(repeated, read_combined).half_widths()
        halves |= {arm.name: float(half) for arm, half in zip(repeated, found, strict=True)}
    return halves


def find_gaps(arms: Sequence[Arm], read: Read) -> dict[str, tuple[float, float | None]]:
    """arm -> its mean minus that of `tuned`, and half of the interval; None: it is one system, of
    which there are no seeds."""
    plain = next((arm for arm in arms if arm.name == PLAIN), None)
    if plain is None:
        return {}
    own = float(np.mean([*map(read, plain.values)]))
    single = (a for a in arms if not a.trials)
    gaps = {a.name: (float(np.mean([*map(read, a.values)])) - own, None) for a in single}
    return {**gaps, **compare_seeds([arm for arm in arms if len(arm.seeds) > 1], read)}


def compare_seeds(arms: Sequence[Arm], read: Read) -> dict[str, tuple[float, float]]:
    names = [arm.name for arm in arms]
    if PLAIN not in names or len(arms) < 2:
        return {}
    place = names.index(PLAIN)
    noise = estimate_noise(arms, read)
    sure = 1 - 0.025 / (len(arms) - 1)
    parts = noise.differ_from(np.asarray(place))
    halves = find_half_width(parts, lambda df: t_quantile(df, sure))
    gaps = noise.levels - noise.levels[place]
    found = zip(arms, gaps, halves, strict=True)
    return {arm.name: (float(g), float(half)) for arm, g, half in found if arm.name != PLAIN}


def estimate_noise(arms: Sequence[Arm], read: Read) -> Noise:
    """The dialogues' part is known of Combined alone."""
    design = Design(
        points=tuple(place for place, arm in enumerate(arms) for _ in arm.seeds),
        seeds=tuple(seed for arm in arms for seed in arm.seeds),
    )
    scores = np.array([read(values) for arm in arms for values in arm.values])
    nothing = np.zeros((len(scores), len(scores)))
    covariance = draw_covariance(arms) if read is read_combined else nothing
    return estimate(scores, covariance, design)


def draw_covariance(arms: Sequence[Arm]) -> Any:
    """[trials, trials]: of Combined over resampled dialogues."""
    return np.cov(np.array([draw_values(counts) for arm in arms for counts in arm.counts]))
