"""What earlier sweeps say of settings: points that were trained to the end, and how far each was
from the best of its sweep.

Points of different ranks, scales and batches are comparable by their *effective rate*, of which
analysis/results/curves fits the exponents to 64 curves of SmolLM2-135M:
learning_rate * (alpha/rank)^0.54 * rank^0.58 / batch^1.02.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from analysis.choice import rank_points
from analysis.records import SweepRecords
from trainable.trial import ConfigError

PACKAGED = Path(__file__).with_name("evidence.json")
FIELDS = ("learning_rate", "alpha_over_rank", "lora_rank", "batch_turns", "lora_modules")
CHOICES = ("lora_modules", "schedule", "context")
LEAST = 12  # points of a sweep that has a best worth the name
EXPONENTS = {"alpha_over_rank": 0.54, "lora_rank": 0.58, "batch_turns": -1.02}
# Above the sizes that were recorded the rate falls as the lab's own setting for 7B does (arXiv
# 2305.14314, table 9), seen from what is best at 135M: by 0.7 decades for every one of parameters.
RECORDED_PARAMS, SHRINKING = 1.345e8, 0.7
# The kernel: how many decades of the effective rate, and how much another choice, set points apart;
# flat around these values when a sweep is left out (analysis/results/recommend).
RATE_DECADES = 0.25
APART = {"lora_modules": 2.0, "schedule": 0.1, "context": 3.0}
SIZE_APART = 2.0  # a decade of parameters, beyond the size recorded that is nearest
UNKNOWN_PARAMS = 1.0  # of a base model whose size cannot be told: no size is nearest
PRIOR = 0.5  # points that the mean of all counts for


@dataclass(frozen=True, kw_only=True)
class SettingPoint:
    """A setting in the terms by which settings are compared."""

    size: float | None  # decimal logarithm of the base model's parameters, where that is known
    rate: float  # decimal logarithm of the effective rate
    lora_modules: str
    schedule: str
    context: str


@dataclass(frozen=True, kw_only=True)
class RecordedPoint:
    """A point that a sweep trained to its end."""

    sweep: str
    params: float  # of the base model
    config: Mapping[str, Any]  # FIELDS and CHOICES
    gap: float  # Combined, 0..200: the best of its sweep less its own

    @property
    def point(self) -> SettingPoint:
        return to_point(self.config, self.params)


def to_point(config: Mapping[str, Any], params: float) -> SettingPoint:
    """Of a trial's config on a base model of so many parameters."""
    logs = math.log10(config["learning_rate"]) + weigh_shape(config)
    choices = {name: config[name] for name in CHOICES}
    size = math.log10(params) if params > UNKNOWN_PARAMS else None
    return SettingPoint(size=size, rate=logs + shrink(params), **choices)


def weigh_shape(config: Mapping[str, Any]) -> float:
    """Decades by which scale, rank and batch make a learning rate effective; rank-stabilised LoRA
    has another scale (arXiv 2312.03732)."""
    scale = config["alpha_over_rank"] * (config["lora_rank"] ** 0.5 if config.get("rslora") else 1)
    values = {**config, "alpha_over_rank": scale}
    return sum(power * math.log10(values[name]) for name, power in EXPONENTS.items())


def shrink(params: float) -> float:
    """Decades by which the best rate lies below that of the sizes that were recorded."""
    return SHRINKING * max(math.log10(params / RECORDED_PARAMS), 0.0)


def solve_rate(rate: float, config: Mapping[str, Any], params: float) -> float:
    """The learning rate at which the rest of the config has that effective rate."""
    return float(10.0 ** (rate - shrink(params) - weigh_shape(config)))


def count_decades(one: SettingPoint, other: SettingPoint) -> float:
    """Of parameters, between two base models; none where either's size is unknown."""
    return 0.0 if one.size is None or other.size is None else abs(one.size - other.size)


def list_recorded(records: SweepRecords, name: str, params: float) -> list[RecordedPoint]:
    """Those of the points that trained longest; none where they are few."""
    points = [p for p in rank_points(records) if not p.trial.is_base and is_comparable(p.trial)]
    longest = max((p.milestone_turns for p in points), default=0)
    ended = [(p.trial.config, p.mean("combined")) for p in points if p.milestone_turns == longest]
    return to_recorded([(c, m) for c, m in ended if m is not None], name, params)


def is_comparable(trial: Any) -> bool:
    known = trial.config
    return (
        known.get("method") == "lora"
        and not known.get("rslora")
        and all(known.get(n) for n in (*FIELDS, *CHOICES))
    )


def to_recorded(
    ended: Sequence[tuple[Mapping[str, Any], float]], name: str, params: float
) -> list[RecordedPoint]:
    """The points (config, Combined) with their distance to the best; none where they are few."""
    if len(ended) < LEAST:
        return []
    best = max(combined for _, combined in ended)
    kept = tuple(dict.fromkeys((*FIELDS, *CHOICES)))
    return [
        RecordedPoint(
            sweep=name,
            params=params,
            config={n: config[n] for n in kept},
            gap=round(best - combined, 2),
        )
        for config, combined in ended
    ]


@lru_cache(maxsize=1)
def read_packaged() -> tuple[RecordedPoint, ...]:
    """What ships with the package: analysis/results/recommend/collect.py made it."""
    return tuple(RecordedPoint(**row) for row in json.loads(PACKAGED.read_text(encoding="utf-8")))


def write_recorded(seen: Iterable[RecordedPoint], path: Path) -> None:
    lines = ",\n".join(json.dumps(asdict(one)) for one in seen)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def predict(
    points: Sequence[SettingPoint], seen: Sequence[RecordedPoint]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The gap of each point: the mean of the gaps seen, each weighted by how alike its point is
    (Nadaraya and Watson's estimator), drawn to the mean of all where nothing alike was seen."""
    if not seen:
        raise ConfigError("there is no sweep to recommend from: give one with --from NAME")
    gaps = np.array([one.gap for one in seen])
    known = [one.point for one in seen]
    rates = np.array([p.rate for p in known])
    choices = {name: np.array([getattr(p, name) for p in known]) for name in CHOICES}
    found = []
    for point in points:
        apart = ((point.rate - rates) / RATE_DECADES) ** 2
        decades = np.array([count_decades(point, one) for one in known])
        apart = apart + SIZE_APART * (decades - decades.min()) ** 2
        for name in CHOICES:
            apart = apart + APART[name] * (choices[name] != getattr(point, name))
        weights = np.exp(-apart / 2)
        total = weights.sum() + PRIOR
        found.append((weights @ gaps + PRIOR * gaps.mean()) / total)
    return np.array(found)
