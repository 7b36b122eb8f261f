"""The ranks and scales of an adapter's modules, as adapter_config.json spells them."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from trainable.rank_pattern import multiply_ranks
from trainable.trial import TrialConfig

ALPHA = 8  # peft's, where the field is left out


class Ranked(Protocol):
    """What most layers have: a trial, or another with these two."""

    @property
    def lora_rank(self) -> int | None: ...

    @property
    def rslora(self) -> bool | None: ...


def spell_ranks(
    ranks: Mapping[str, int], scales: Mapping[str, float], config: Ranked
) -> dict[str, Any]:
    """r, lora_alpha, rank_pattern, alpha_pattern and use_rslora, of a rank and a scale a module:
    the trial's own, and by its path what a module has otherwise."""
    alphas = {
        path: scales[path] * (rank**0.5 if config.rslora else rank) for path, rank in ranks.items()
    }
    rank = config.lora_rank or next(iter(ranks.values()), 0)
    alpha = next((alphas[path] for path, own in ranks.items() if own == rank), 0.0)
    fields = {"r": rank, "lora_alpha": alpha, "use_rslora": bool(config.rslora)}
    patterns = {
        "rank_pattern": {path: own for path, own in ranks.items() if own != rank},
        "alpha_pattern": {path: own for path, own in alphas.items() if own != alpha},
    }
    return fields | {name: pattern for name, pattern in patterns.items() if pattern}


def as_plain(config: TrialConfig) -> TrialConfig:
    """The trial whose adapter is spelt as plain LoRA: a PiSSA's is saved at twice the rank, what it
    began as subtracted, so that it fits the base model as it is (arXiv 2404.02948)."""
    if config.lora_init != "pissa":
        return config
    assert config.lora_rank is not None and config.alpha_over_rank is not None
    return replace(
        config,
        lora_init=None,
        lora_rank=2 * config.lora_rank,
        rank_pattern=multiply_ranks(config.rank_pattern, 2),
        alpha_over_rank=config.alpha_over_rank * (0.5**0.5 if config.rslora else 1),
    )


def read_rank(fields: Mapping[str, Any], path: str) -> int:
    """Of the module at that path."""
    return int(read_own(fields.get("rank_pattern"), path, fields["r"]))


def read_scale(fields: Mapping[str, Any], path: str) -> float:
    """What B A is multiplied by there: alpha/rank, or alpha/sqrt(rank) with rslora."""
    rank = read_rank(fields, path)
    alpha = float(read_own(fields.get("alpha_pattern"), path, fields.get("lora_alpha", ALPHA)))
    return alpha / (rank**0.5 if fields.get("use_rslora") else rank)


def read_own(pattern: Mapping[str, Any] | None, path: str, default: Any) -> Any:
    """As peft reads a pattern: by regular expressions on the end of the path, the first that fits.

    >>> read_own({"q_proj": 8, "layers.1.v": 4}, "model.layers.1.v", 2)
    4
    """
    for name, value in (pattern or {}).items():
        if re.match(rf"(.*\.)?({name})$", path):
            return value
    return default
