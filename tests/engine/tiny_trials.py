"""Specs and configs of the engine's tests."""

from pathlib import Path
from typing import Any

from trainable.model.base import BaseSpec
from trainable.trial import TrialConfig


def make_spec(folder: Path) -> BaseSpec:
    return BaseSpec(base_model=str(folder), quantisation="fp32", device="cpu")


def make_config(folder: Path, **changes: Any) -> TrialConfig:
    fields: dict[str, Any] = {
        "base_model": str(folder),
        "quantisation": "fp32",
        "lora_rank": 4,
        "alpha_over_rank": 2.0,
        "rslora": False,
        "lora_modules": "all-linear",
        "lora_dropout": 0.0,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "warmup_turns": 0,
        "batch_turns": 8,
        "train_turns": 10_000,
        "weight_decay": 0.0,
        "clip_norm": 1.0,
        "max_new_tokens": 12,
    }
    return TrialConfig(**{**fields, **changes})
