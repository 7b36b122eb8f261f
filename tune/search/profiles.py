"""The profiles: what a trial and a sweep are where nothing is said. `tiny` runs on any machine in
minutes, `lab` is the lab's own setting, `colab` is for one card of 16 GB beside two cores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune.search.config import SweepConfig

SHARED = {
    "initialisation": "pretrained",
    "quantisation": "nf4",
    "double_quantisation": True,
    "method": "lora",
    "rslora": False,
    "lora_modules": "all-linear",
    # both as measured: analysis/results/averaging
    "schedule": "cosine",
    "averaging": 0.11,
    "weight_decay": 0.0,
    "format": "dialogues",
    "context": "history",
    "response": "delexicalised",
}
# profile -> TrialConfig fields under the space's
BASES: dict[str, dict[str, Any]] = {
    "tiny": {  # the embedded model and corpus: any machine, minutes
        **SHARED,
        "base_model": "tiny",
        "corpus": "cambridge",
        "lora_rank": 16,
        "alpha_over_rank": 2.0,
        "lora_dropout": 0.0,
        "learning_rate": 1e-2,
        "batch_turns": 25,
        "clip_norm": 1.0,
        "max_length_tokens": 1024,
        "max_new_tokens": 48,
    },
    "colab": {  # a free notebook's T4, two cores, 12 GB of memory: analysis/results/small_cards
        **SHARED,
        "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "corpus": "multiwoz",
        "lora_rank": 16,
        "alpha_over_rank": 2.0,
        "lora_dropout": 0.05,
        "learning_rate": 3e-3,
        "batch_turns": 32,
        "clip_norm": 1.0,
        "max_length_tokens": 1024,
        "max_new_tokens": 80,
    },
    "lab": {  # the lab's setting, as QLoRA's for 7B (arXiv 2305.14314, table 9)
        **SHARED,
        "base_model": "huggyllama/llama-7b",
        "corpus": "multiwoz",
        "lora_rank": 64,
        "alpha_over_rank": 0.25,  # alpha 16
        "lora_dropout": 0.1,
        "learning_rate": 2e-4,
        "batch_turns": 16,
        "clip_norm": 0.3,
        "max_length_tokens": 1024,
        "max_new_tokens": 80,
    },
}
# as measured: analysis/results/curves/methods.md
RACE = {"asha": "promote", "idle": "promote", "eta": 2.25}
# profile -> SweepConfig fields that flags may overrule
SCALES: dict[str, dict[str, Any]] = {
    "tiny": {**RACE, "trials": 10, "train_turns": 1600, "eval_dialogues": (50, 50, 50, 50)},
    "colab": {**RACE, "trials": 16, "train_turns": 6000, "eval_dialogues": (100, 100, 100, 200)},
    "lab": {**RACE, "trials": 48, "train_turns": 30_000, "eval_dialogues": (100, 100, 100, 1000)},
}
WARMUP = 0.03  # of the training


def compose(
    profile: str, flags: Mapping[str, Any], brought: Mapping[str, Any] | None = None
) -> SweepConfig:
    """The profile's sweep with the flags that were given (`name` and `space` among them), on what
    an adapter that trials start from brings along. Raises ConfigError."""
    given = {name: value for name, value in flags.items() if value is not None}
    values: dict[str, Any] = {**SCALES[profile], **given, "profile": profile}
    values.setdefault("seed", 0)
    if "rungs_turns" not in given:
        n_rungs = len(values["eval_dialogues"]) - 1
        values["rungs_turns"] = spread_rungs(values["train_turns"], n_rungs)
    if "eval_dialogues" not in given:
        values["eval_dialogues"] = fit_evals(values["eval_dialogues"], len(values["rungs_turns"]))
    values["base"] = {
        **(given.get("base") or BASES[profile]),
        **(brought or {}),
        "seed": values["seed"],
        "train_turns": values["train_turns"],
        "warmup_turns": round(WARMUP * values["train_turns"]),
    }
    return SweepConfig(**values)


def spread_rungs(train_turns: int, n_rungs: int) -> tuple[int, ...]:
    """Each at half the turns of the next, the last at half of the training; fewer where they would
    meet.

    >>> spread_rungs(1600, 3)
    (200, 400, 800)
    """
    rungs = {round(train_turns / 2**k) for k in range(1, n_rungs + 1)}
    return tuple(sorted(r for r in rungs if 0 < r < train_turns))


def fit_evals(eval_dialogues: tuple[int, ...], n_rungs: int) -> tuple[int, ...]:
    """One number a rung and one for the end: the highest ones, or the lowest repeated."""
    missing = n_rungs + 1 - len(eval_dialogues)
    return (*(eval_dialogues[0],) * missing, *eval_dialogues)[-(n_rungs + 1) :]


def pick_profile(asked: str = "auto") -> tuple[str, str]:
    """(profile, why): the one asked for; with auto lab where there is a GPU, tiny elsewhere. Does
    not import torch."""
    if asked != "auto":
        return asked, "--profile"
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "tiny", "CUDA_VISIBLE_DEVICES hides the GPUs"
    return ("lab", "there is a GPU") if count_gpus() else ("tiny", "there is no GPU")


def count_gpus() -> int:
    """Of this machine, as far as they are visible. Does not import torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible in ("", "-1"):
        return 0
    listed = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    there = listed or len(list(Path("/dev").glob("nvidia[0-9]*")))
    return min(there, len(visible.split(","))) if visible else there
