"""Variants of LoRA on all linear layers, each with as many parameters as rank 8 everywhere, and the
rates to try them at."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution

TURNS = int(os.environ.get("TURNS", "4000"))
COSTS = Path(os.environ.get("COSTS", Path(__file__).with_name("costs.json")))
DEARER = 1.05  # a variant that costs so much more a turn is trained for plain LoRA's time, too
PLAIN: dict[str, Any] = {
    **{"lora_init": "uniform", "dora": False, "lora_plus_ratio": 1.0},
    **{"neftune_alpha": 0.0, "lora_layers": "all", "rank_pattern": "all-linear=8"},
}
ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "LoRA+, 4": {"lora_plus_ratio": 4.0},
    "LoRA+, 16": {"lora_plus_ratio": 16.0},
    "PiSSA": {"lora_init": "pissa"},
    "DoRA": {"dora": True},
    "NEFTune, 5": {"neftune_alpha": 5.0},
    "more rank first": {"rank_pattern": "first-half=12,last-half=4"},
    "more rank last": {"rank_pattern": "first-half=4,last-half=12"},
    "every second block": {"lora_layers": "every-second", "rank_pattern": "all-linear=16"},
}
HIGH, LOW = (1.6e-3, 3.2e-3, 6.4e-3, 1.28e-2), (4e-4, 8e-4, 1.6e-3, 3.2e-3)
RATES = {"LoRA+, 4": (8e-4, 1.6e-3, 3.2e-3, 6.4e-3), "LoRA+, 16": LOW, "PiSSA": LOW}  # others: HIGH


def list_values(field: str) -> CategoricalDistribution:
    values = [{**PLAIN, **arm}[field] for arm in ARMS.values()]
    return CategoricalDistribution(tuple(dict.fromkeys(values)))


SEARCHED = {
    "learning_rate": FloatDistribution(1e-5, 1e-1, log=True),  # first: points are compared
    **{field: list_values(field) for field in PLAIN},
}
CONDITIONS = {"dora": ("lora_init", ("uniform",))}


def spell(name: str, rate: float) -> dict[str, Any]:
    """An arm's point. With PiSSA there is no DoRA."""
    point = {**PLAIN, **ARMS[name], "learning_rate": rate}
    return {n: v for n, v in point.items() if n != "dora" or point["lora_init"] == "uniform"}


def name_of(params: Mapping[str, Any]) -> str:
    """The arm that a point is of."""
    own = {n: v for n, v in params.items() if n in PLAIN}
    return next(name for name in ARMS if own == {n: spell(name, 0).get(n) for n in own})


def list_lengths() -> dict[str, tuple[int, ...]]:
    """Arm -> for how many turns it is trained: as many as plain LoRA, and as long."""
    costs = read_costs()
    return {
        name: (TURNS, round(TURNS / costs[name])) if costs[name] > DEARER else (TURNS,)
        for name in ARMS
    }


def read_costs() -> dict[str, float]:
    """Arm -> the time of its training, in plain LoRA's."""
    speeds = {name: cost["tokens_per_s"] for name, cost in json.loads(COSTS.read_text()).items()}
    return {name: speeds["plain"] / speed for name, speed in speeds.items()}
