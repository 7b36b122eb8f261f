"""Writes sweep folders in the recorder's format, with a known answer, in milliseconds a trial:
attention beats ffn, learning rates near 1e-3 beat the others, rank hardly matters."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    distribution_to_json,
)

from analysis.noise import score_combined
from analysis.training import TRAINING
from trainable.result import EvalResult, Resolved
from trainable.training_curve import TrainingCurve, TrainingPoint
from trainable.trial import TrialConfig

RUNGS_TURNS = (512, 2048, 8192)
START_S = 1_750_000_000.0
GPUS, SLOTS = 2, 4
MODULES = {
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "ffn": ("gate_proj", "up_proj", "down_proj"),
    "all-linear": (
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    ),
}
SEARCHED = {
    "learning_rate": FloatDistribution(1e-5, 1e-1, log=True),
    "lora_modules": CategoricalDistribution(tuple(MODULES)),
    "lora_rank": CategoricalDistribution((2, 8, 32)),
    "schedule": CategoricalDistribution(("constant", "wsd")),
    "decay_fraction": FloatDistribution(0.05, 0.5),
}
FIXED = {
    "alpha_over_rank": 2.0,
    "rslora": False,
    "lora_dropout": 0.0,
    "double_quantisation": True,
    "warmup_turns": 64,
    "batch_turns": 16,
    "train_turns": RUNGS_TURNS[-1],
    "weight_decay": 0.0,
    "clip_norm": 1.0,
}
REPLIES = (
    "i have found [choice] restaurants in the [area] . would you like [name] ?",
    "the phone number of [name] is [phone] and the postcode is [postcode] .",
    "your booking was successful , the reference number is [reference] .",
    "[name] is a [pricerange] place serving [food] food .",
)


def sample_params(rng: np.random.Generator) -> dict[str, Any]:
    params: dict[str, Any] = {
        "learning_rate": float(10 ** rng.uniform(-5, -1)),
        "lora_modules": str(rng.choice(list(MODULES))),
        "lora_rank": int(rng.choice([2, 8, 32])),
        "schedule": str(rng.choice(["constant", "wsd"])),
    }
    if params["schedule"] == "wsd":
        params["decay_fraction"] = float(rng.uniform(0.05, 0.5))
    return params


def measure_quality(params: Mapping[str, Any], turns: int) -> float:
    """The probability of a good dialogue: what the sweep should find out."""
    modules = {"attention": 0.0, "all-linear": 0.03, "ffn": -0.35}[params["lora_modules"]]
    rate = -0.12 * (math.log10(params["learning_rate"]) + 3) ** 2
    grown = 1 - math.exp(-turns / 2500)
    return float(np.clip(0.1 + (0.65 + modules + rate) * grown, 0.02, 0.97))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is searched, and how good each choice is."""

    name: str = "synthetic"
    question: str = "Which LoRA modules work best?"
    searched: Mapping[str, BaseDistribution] = field(default_factory=lambda: SEARCHED)
    fixed: Mapping[str, Any] = field(default_factory=lambda: FIXED)
    rungs_turns: tuple[int, ...] = RUNGS_TURNS
    sample: Callable[[np.random.Generator], dict[str, Any]] = sample_params
    quality: Callable[[Mapping[str, Any], int], float] = measure_quality
    total_params: Callable[[Mapping[str, Any]], int] = lambda params: 1_600_000


@dataclass(kw_only=True)
class Maker:
    """Appends the events of one sweep."""

    folder: Path
    plan: Plan
    rng: np.random.Generator
    n_dialogues: int
    clocks: list[float]  # when each (gpu, slot) is free

    def write(self, event: Mapping[str, Any]) -> None:
        with (self.folder / "evals.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")


def write_sweep(
    folder: Path,
    *,
    trials: int = 12,
    n_dialogues: int = 40,
    failing: tuple[int, ...] = (),
    unfinished: int = 0,
    plan: Plan | None = None,
) -> Path:
    """A sweep of that many trials and the untuned base; the trials numbered in `failing` fail at
    once, the last `unfinished` ones are still running. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = plan or Plan()
    write_header(folder, trials=trials, plan=plan)
    maker = Maker(
        folder=folder,
        plan=plan,
        rng=np.random.default_rng(0),
        n_dialogues=n_dialogues,
        clocks=[START_S] * (GPUS * SLOTS),
    )
    _write_base(maker)
    tables: dict[int, list[float]] = {rung: [] for rung in plan.rungs_turns}
    for number in range(trials):
        running = number >= trials - unfinished
        _write_trial(maker, number, tables, fails=number in failing, running=running)
    return folder


def add_training(folder: Path, steps: int = 300) -> None:
    """What each trial's training was, step by step."""
    curve = TrainingCurve()
    for step in range(1, steps + 1):
        curve.add(
            TrainingPoint(
                turns_seen=16 * step,
                steps=step,
                loss_nats=1 + 3 / math.sqrt(step) + 0.05 * math.sin(5 * step),
                learning_rate=1e-3 * (1 - step / (steps + 1)),
                gradient_norm=2 + math.cos(3 * step),
                tokens_seen=700 * step,
                train_s=0.11 * step,
                gpu_percent=90.0,
                gpu_gib=31.5,
            )
        )
    for place in (folder / "trials").iterdir():
        (place / TRAINING).write_text(json.dumps(curve.to_dict()))


def write_header(folder: Path, *, trials: int, plan: Plan | None = None, **changes: Any) -> None:
    plan = plan or Plan()
    searched = {k: json.loads(distribution_to_json(d)) for k, d in plan.searched.items()}
    header = {
        "format": 1,
        "name": folder.name,
        "space": {
            "name": plan.name,
            "question": plan.question,
            "searched": searched,
            "fixed": plan.fixed,
        },
        "config": {
            "trials": trials,
            "metric": "combined",
            "mode": "max",
            "train_turns": plan.rungs_turns[-1],
            "rungs_turns": list(plan.rungs_turns[:-1]),
            "eta": 2,
            "asha": "stop",
        },
        "versions": {"python": "3.11"},
        "commit": "0" * 40,
        "created_s": START_S,
        **changes,
    }
    (folder / "sweep.json").write_text(json.dumps(header))


def _write_base(maker: Maker) -> None:
    config = TrialConfig(method="none", double_quantisation=True).to_dict()
    event = {"event": "trial", "trial": "base", "number": -1, "params": {}, "config": config}
    maker.write({**event, "time_s": START_S})
    resolved = Resolved(total_params=1_600_000, device="cpu", execution="solo")
    maker.write({"event": "resolved", "trial": "base", **asdict(resolved), "time_s": START_S})
    _write_eval(maker, "base", 0.05, 0, 0, START_S + 10)
    end = {"event": "end", "trial": "base", "state": "COMPLETE", "reason": None}
    maker.write({**end, "time_s": START_S + 11})


def _write_trial(
    maker: Maker, number: int, tables: dict[int, list[float]], *, fails: bool, running: bool
) -> None:
    plan = maker.plan
    trial, params = f"{number:04d}", plan.sample(maker.rng)
    slot = int(np.argmin(maker.clocks))
    config = TrialConfig(**{**plan.fixed, **params}).to_dict()
    event = {"event": "trial", "trial": trial, "number": number, "params": params}
    maker.write({**event, "config": config, "time_s": maker.clocks[slot]})
    names = MODULES[config.get("lora_modules", "all-linear")] if config["train_turns"] else ()
    resolved = Resolved(
        modules=tuple(f"model.layers.{i}.{name}" for i in range(4) for name in names),
        trainable_params=4 * len(names) * 2 * 128 * config.get("lora_rank", 0),
        total_params=plan.total_params(params),
        base_residency="nf4",
        execution="packed",
        device="Synthetic GPU",
    )
    time_s = maker.clocks[slot]
    maker.write({"event": "resolved", "trial": trial, **asdict(resolved), "time_s": time_s})
    state, reason = ("FAIL", "the loss is not finite") if fails else ("COMPLETE", None)
    for turns in () if fails else plan.rungs_turns:
        maker.clocks[slot] += (turns + 200) / 40 * maker.rng.uniform(0.9, 1.1)
        score = _write_eval(
            maker, trial, plan.quality(params, turns), turns, slot, maker.clocks[slot]
        )
        tables[turns].append(score)
        if running:
            return
        if turns < plan.rungs_turns[-1] and score < np.median(tables[turns]):
            state, reason = "PRUNED", f"below the best half at {turns} turns"
            break
    end = {"event": "end", "trial": trial, "state": state, "reason": reason}
    maker.write({**end, "time_s": maker.clocks[slot] + 0.1})


def _write_eval(
    maker: Maker, trial: str, good: float, turns: int, slot: int, time_s: float
) -> float:
    counts = draw_counts(maker.rng, maker.n_dialogues, good)
    sums = counts.sum(axis=0)
    combined = float(score_combined(maker.n_dialogues, sums[None])[0])
    inform, success = 100 * sums[:2] / maker.n_dialogues
    result = EvalResult(
        turns_seen=turns,
        steps=turns // 16,
        loss_nats=3.0 - 2.0 * good,
        bleu=combined - (inform + success) / 2,
        inform=float(inform),
        success=float(success),
        combined=combined,
        richness={
            **{"entropy": 6.0, "cond_entropy": 2.0 + good, "avg_lengths": 12.0},
            **{"msttr": 0.6 + 0.1 * good, "num_unigrams": 300, "num_trigrams": 2000},
        },
        n_dialogues=maker.n_dialogues,
        n_turns=5 * maker.n_dialogues,
        split="validation",
        states="gold",
        intervals={"combined": (combined - 8, combined + 8)},
        train_s=turns / 50,
        eval_s=turns / 400,
        train_turns_per_s=50.0,
        tokens_per_s=1500.0,
        peak_gib=2.0,
    )
    place = {"node": "node-a", "gpu": slot // SLOTS, "slot": slot % SLOTS}
    times = {"started_s": time_s - (turns + 200) / 45, "time_s": time_s}
    maker.write({"event": "eval", "trial": trial, **asdict(result), "place": place, **times})
    _write_details(maker, trial, turns, counts)
    return combined


def draw_counts(rng: np.random.Generator, n_dialogues: int, good: float) -> np.ndarray:
    """(dialogue, 12): inform, success, 4 matches, 4 totals, tokens, reference tokens."""
    inform = rng.random(n_dialogues) < good
    success = inform & (rng.random(n_dialogues) < good)
    tokens = rng.integers(40, 80, n_dialogues)
    totals = np.stack([tokens - 5 * k for k in range(4)], axis=1)
    shares = np.array([0.7, 0.4, 0.25, 0.15]) * (0.4 + 0.6 * good)
    matches = rng.binomial(totals, shares)
    columns = [inform, success, *matches.T, *totals.T, tokens, tokens + 3]
    return np.stack(columns, axis=1).astype(float)


def _write_details(maker: Maker, trial: str, turns: int, counts: np.ndarray) -> None:
    folder = maker.folder / "trials" / trial
    folder.mkdir(parents=True, exist_ok=True)
    dialogues = {
        f"syn{i:04d}": {"inform": int(row[0]), "success": int(row[1]), "bleu": row[2:].tolist()}
        for i, row in enumerate(counts)
    }
    content = {**dialogues, "turns_seen": turns}
    (folder / "dialogues.json").write_text(json.dumps(content))
    responses = {
        name: [{"response": REPLIES[(i + k) % len(REPLIES)]} for k in range(5)]
        for i, name in enumerate(dialogues)
    }
    (folder / "responses.json").write_text(json.dumps(responses))
