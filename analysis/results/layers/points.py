"""Selections of layers, each at one rank and at equal parameters, and the rates to try them at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.lora_modules import SELECTIONS

RANK = 8
# A rank adds so many parameters to a layer of SmolLM2-135M: 10,176 on all linear modules, 3,840 on
# attention's, 6,336 on the feed-forward part, 1,920 on q and v, 3,264 on o and down.
EQUAL_RANKS = dict(zip(SELECTIONS, (8, 21, 13, 42, 25), strict=True))
ARMS: tuple[dict[str, Any], ...] = tuple(
    {"lora_modules": name, "lora_rank": rank}
    for name in SELECTIONS
    for rank in dict.fromkeys((RANK, EQUAL_RANKS[name]))
)
RATES = tuple(
    float(rate) for rate in os.environ.get("RATES", "4e-4 8e-4 1.6e-3 3.2e-3 6.4e-3").split()
)

SEARCHED = {
    "lora_modules": CategoricalDistribution(SELECTIONS),
    "lora_rank": IntDistribution(RANK, max(EQUAL_RANKS.values())),
    "learning_rate": FloatDistribution(1e-5, 1e-1, log=True),
}


def key_of(params: Mapping[str, Any]) -> tuple[str, int]:
    return params["lora_modules"], params["lora_rank"]
