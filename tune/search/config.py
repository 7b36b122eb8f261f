"""What a sweep is: the flags, made whole and checked before anything starts."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from trainable.storage.remote import find_remote
from trainable.system.inside import is_below
from trainable.trial import ConfigError, Milestone

ASHA = ("stop", "promote", "off")
RUNG_METRICS = ("loss", "combined")
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
# profile -> SweepConfig fields that flags may overrule
SCALES: dict[str, dict[str, Any]] = {
    "tiny": {
        "trials": 10,
        "train_turns": 1600,
        "rungs_turns": (400, 800),  # earlier, the scores of so small a model are noise
        "eta": 3,
        "eval_dialogues": (20, 30, 50),
    },
    "lab": {"trials": 48, "train_turns": 30_000, "eta": 3, "eval_dialogues": (100, 200, 400, 1000)},
}
BUDGETS = ("max_failed_trials", "max_gpu_hours", "max_hours", "stop_if_no_improvement")
WARMUP = 0.03  # of the training


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """A sweep's settings, whole. Raises ConfigError when one is out of its range."""

    name: str
    space: str  # a name under search_spaces, or a file
    profile: str  # tiny | lab
    base: Mapping[str, Any]  # TrialConfig fields under the space's
    trials: int  # proposed ones; the untuned base comes on top
    train_turns: int  # the longest a trial trains, in system turns
    rungs_turns: tuple[int, ...]  # where trials are compared, ascending, the end left out
    eval_dialogues: tuple[int, ...]  # validated on at each rung and at the end
    eta: float = 3  # the best 1/eta of a rung go on
    asha: str = "stop"
    rung_metric: str = "combined"  # what a rung decides on; at the end it is Combined in any case
    seed: int = 0  # of the proposals, and of every trial
    seeds: int = 1  # trials of every point, with seeds from that one on; pruned by their mean
    confirm: int = 0  # the best points that are repeated with fresh seeds, on all dialogues
    calibrate: float | None = None  # a placeholder_bias whose score stands beside the headline
    concurrent: int = 0  # trials at a time; 0: as many as there is room for
    pack: str = "auto"  # trials on one engine: auto, or a number; 1: each in its own process
    baseline: bool = True  # also evaluate the untuned base model
    max_failures: int = 3  # restarts of one trial after a fault of the machinery
    max_failed_trials: int = 0  # more end the sweep; 0: a quarter of the trials, but at least 5
    max_gpu_hours: float = 0  # 0: no limit; without a GPU, hours of a machine
    max_hours: float = 0  # of work, pauses left out; 0: no limit
    stop_if_no_improvement: int = 0  # points that end or pause below the highest; 0: no limit
    report_to: tuple[str, ...] = ()  # tensorboard, mlflow, wandb, trackio
    deterministic: bool = False  # torch's deterministic kernels
    trust_remote_code: bool = False  # runs the code that a base model's repository brings along
    storage: str = "runs"

    def __post_init__(self) -> None:
        self._check_counts()
        self._check_name()
        if self.asha not in ASHA:
            raise ConfigError(f"--asha must be one of {', '.join(ASHA)}, not {self.asha!r}")
        if self.rung_metric not in RUNG_METRICS:
            raise ConfigError(
                f"--rung-metric must be auto or one of {', '.join(RUNG_METRICS)}, not "
                f"{self.rung_metric!r}"
            )
        if self.eta <= 1:
            raise ConfigError(f"--eta must be above 1, not {self.eta}: the best 1/eta go on")
        rungs = (0, *self.rungs_turns, self.train_turns)
        if any(a >= b for a, b in pairwise(rungs)):
            raise ConfigError(
                f"--rungs must rise from above 0 to below --train-turns {self.train_turns}, "
                f"not {', '.join(map(str, self.rungs_turns))}"
            )
        if len(self.eval_dialogues) != len(self.rungs_turns) + 1 or min(self.eval_dialogues) < 1:
            raise ConfigError(
                f"--eval-dialogues needs a number from 1 for each of the {len(self.rungs_turns)} "
                f"rungs and one for the end, not {', '.join(map(str, self.eval_dialogues))}"
            )
        if self.pack != "auto" and not (self.pack.isdecimal() and int(self.pack) >= 1):
            raise ConfigError(f"--pack must be auto or a number from 1, not {self.pack!r}")

    def _check_counts(self) -> None:
        lowest = {"trials": 1, "train_turns": 1, "seed": 0, "seeds": 1, "concurrent": 0}
        lowest |= {"max_failures": 0, "confirm": 0}
        lowest |= dict.fromkeys(BUDGETS, 0)
        for name, low in lowest.items():
            value = getattr(self, name)
            if not value >= low:
                flag = "--" + name.replace("_", "-")
                raise ConfigError(f"{flag} must be at least {low}, not {value}")

    def _check_name(self) -> None:
        is_plain = is_below(self.name) and "/" not in self.name
        if not is_plain or self.name.startswith("."):
            raise ConfigError(
                f"--name must be a plain folder name, not {self.name!r}: the folder that holds "
                "the sweeps is --storage"
            )

    @property
    def folder(self) -> Path:
        return Path(self.storage).absolute() / self.name

    @property
    def resume_command(self) -> str:
        """What goes on with the sweep, from the folder in which it was started."""
        remote = find_remote(self.folder)
        storage = remote.uri if remote else self.storage
        where = [] if storage == "runs" else ["--storage", storage]
        return shlex.join(["python", "-m", "tune.run", "--resume", self.name, *where])

    def milestones(
        self, train_turns: int, *, is_confirmation: bool = False
    ) -> tuple[Milestone, ...]:
        """Of a trial that ends at `train_turns`. A loss that decides is measured on all dialogues,
        since it is cheap; where a point is confirmed nothing is decided on the way, and the end
        makes replies to all of them."""
        *lower, final = self.eval_dialogues
        rungs = [Milestone(*rung) for rung in zip(self.rungs_turns, lower, strict=True)]
        if is_confirmation:
            rungs = [Milestone(rung.turns, rung.n_dialogues, replies=False) for rung in rungs]
        elif self.rung_metric == "loss":
            rungs = [Milestone(rung.turns, None, replies=False) for rung in rungs]
        n_dialogues = None if is_confirmation else final
        end = Milestone(train_turns, n_dialogues, bias=self.calibrate)
        return (*(rung for rung in rungs if rung.turns < train_turns), end)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SweepConfig:
        known = {f.name for f in fields(cls)}
        kept: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in values.items() if n in known
        }
        return cls(**kept)


def compose(
    profile: str, flags: Mapping[str, Any], brought: Mapping[str, Any] | None = None
) -> SweepConfig:
    """The profile's sweep with the flags that were given (`name` and `space` among them), on what
    an adapter that trials start from brings along. Raises ConfigError."""
    given = {name: value for name, value in flags.items() if value is not None}
    values: dict[str, Any] = {**SCALES[profile], **given, "profile": profile}
    values.setdefault("seed", 0)
    is_rescaled = "train_turns" in given or "eta" in given
    if "rungs_turns" not in given and ("rungs_turns" not in values or is_rescaled):
        n_rungs = len(values["eval_dialogues"]) - 1
        values["rungs_turns"] = spread_rungs(values["train_turns"], values["eta"], n_rungs)
    if "eval_dialogues" not in given:
        values["eval_dialogues"] = fit_evals(values["eval_dialogues"], len(values["rungs_turns"]))
    values["base"] = {
        **BASES[profile],
        **(brought or {}),
        "seed": values["seed"],
        "train_turns": values["train_turns"],
        "warmup_turns": round(WARMUP * values["train_turns"]),
    }
    return SweepConfig(**values)


def spread_rungs(train_turns: int, eta: float, n_rungs: int) -> tuple[int, ...]:
    """Rungs a factor eta apart below the end; fewer where they would meet.

    >>> spread_rungs(900, 3, 2)
    (100, 300)
    """
    rungs = {round(train_turns / eta**k) for k in range(1, n_rungs + 1)} if eta > 1 else set()
    return tuple(sorted(r for r in rungs if 0 < r < train_turns))


def fit_evals(eval_dialogues: tuple[int, ...], n_rungs: int) -> tuple[int, ...]:
    """One number a rung and one for the end: the highest ones, or the lowest repeated."""
    missing = n_rungs + 1 - len(eval_dialogues)
    return (*(eval_dialogues[0],) * missing, *eval_dialogues)[-(n_rungs + 1) :]


def count_fresh_seeds(points: int) -> int:
    """Of every point, where so many are confirmed. A lead of 10 points is named in 96 % of sweeps
    by three seeds of five points, in 78 % by three of two (analysis/results/claims)."""
    return 4 if points == 2 else 3


def pick_profile() -> tuple[str, str]:
    """(profile, why): lab where there is a GPU, tiny elsewhere. Does not import torch."""
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
