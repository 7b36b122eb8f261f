"""How far an arm is from the same without a lever: paired by seed and by dialogue, with 95 %
intervals corrected (Bonferroni) for all that is compared on those dialogues with those states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
from arms import Arm

from analysis.claims.quantiles import t_quantile
from analysis.claims.variance import Design, Noise, find_half_width
from analysis.claims.variance import estimate_noise as estimate
from analysis.noise import draw_values

Values = Mapping[str, Any]
Read = Callable[[Values], float | None]  # None: not measured
Gap = tuple[float, float]  # the difference of two means, half of its interval
OWN, BOOKED = "own of ", "_booked"


def read_combined(values: Values) -> float | None:
    return values["combined"]


GAPS: dict[str, Read] = {  # column of the table -> what two arms are compared by
    "nats from it": lambda values: values.get("nats_per_word"),
    "Combined from it": read_combined,
    "biased from it": lambda values: (values.get("calibrated") or {}).get("combined"),
    "F1 from it": lambda values: (values["placeholders"] or {}).get("f1"),
}


def find_intervals(arms: Sequence[Arm]) -> dict[str, float]:
    """arm -> half of the interval of its Combined, over seeds and dialogues, of one system over
    dialogues; of one model's arms that were asked the same dialogues."""
    single = {a.name: a.values[0]["intervals"]["combined"] for a in arms if len(a.seeds) == 1}
    halves = {name: (high - low) / 2 for name, (low, high) in single.items()}
    repeated = [arm for arm in arms if len(arm.seeds) > 1]
    if repeated:
        found = estimate_noise(repeated, read_combined).half_widths()
        halves |= {arm.name: float(half) for arm, half in zip(repeated, found, strict=True)}
    return halves


def find_plain(arm: Arm, arms: Sequence[Arm]) -> Arm | None:
    """What an arm is held against: `own of` a sweep against that sweep, one with bookings against
    the same without; else `tuned` of its model, or `states` where states are predicted, or `final`
    where training was long; each of these against that of a smaller model of its series, or else
    of the first model."""
    own = arm.name.startswith(OWN)
    without = arm.name.removeprefix(OWN) if own else arm.name.removesuffix(BOOKED)
    first = () if without == arm.name else (without,)
    for plain in (*first, "tuned", "states", "final", "final_booked"):
        found = [other for other in arms if other.name == plain]
        if arm.name == plain:
            smaller = takewhile(lambda other: other is not arm, found)
            found = [o for o in smaller if name_series(o) == name_series(arm)] + found
        else:
            found = [other for other in found if other.model == arm.model]
        if found and found[0] is not arm:
            return found[0]
    return None


def name_series(arm: Arm) -> str:
    """Of its model: what comes in several sizes under one name."""
    return arm.model.rpartition("-")[0]


def find_gaps(arms: Sequence[Arm], read: Read) -> dict[int, Gap]:
    """Place of an arm with several seeds -> how far it is from what it is held against, where that
    is measured of both."""
    repeated = [
        place
        for place, arm in enumerate(arms)
        if len(arm.seeds) > 1 and None not in map(read, arm.values)
    ]
    several = [arms[place] for place in repeated]
    plain = [find_plain(arm, several) for arm in several]
    pairs = [(i, several.index(own)) for i, own in enumerate(plain) if own is not None]
    if not pairs:
        return {}
    noise = estimate_noise(several, read)
    sure = 1 - 0.025 / len(pairs)
    gaps = {}
    for i, against in pairs:
        parts = noise.differ_from(np.asarray(against))
        half = find_half_width(parts, lambda df: t_quantile(df, sure))[i]
        gaps[repeated[i]] = (float(noise.levels[i] - noise.levels[against]), float(half))
    return gaps


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
