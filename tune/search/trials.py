"""One trial as the search knows it, and as the sampler sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.records import CONFIRMATION
from trainable.result import EvalResult, ValidationRequest
from trainable.trial import CONDITIONS, TrialConfig
from tune.search.proposals import Tried

ENDED = ("COMPLETE", "PRUNED", "FAIL")
FAULT = "given up"  # begins the reason of a failure that was not the trial's own doing
ASKED = "stopped by request"


@dataclass(slots=True)
class Progress:
    """What the search knows of one trial."""

    id: str
    number: int
    params: Mapping[str, Any]
    config: TrialConfig
    state: str = "QUEUED"  # or RUNNING (leased), WAITING (at its rung), one of ENDED
    faults: int = 0  # workers lost since the driver started
    is_resolved: bool = False  # it has met its model
    turns_seen: int = -1  # of the last evaluation reported
    scores: dict[int, float] = field(default_factory=dict)  # milestone in turns -> score
    reason: str | None = None
    origin: Mapping[str, Any] | None = None  # of a clone: see tune.clone
    proposal: Mapping[str, Any] | None = None  # of a point from outside: see tune.propose
    is_inside: bool = True  # no value lies outside the space, as one edited by hand may
    since_s: float = 0.0  # time.monotonic() at its lease, or at its last report since


def name_trial(number: int) -> str:
    """
    >>> name_trial(7)
    '0007'
    """
    return f"{number:04d}"


def is_studied(trial: Progress) -> bool:
    """Whether the sampler may learn from it: not from a clone outside the space, nor from what lies
    there for any other reason."""
    return trial.is_inside and (trial.origin is None or bool(trial.origin["in_study"]))


def is_confirmation(trial: Progress) -> bool:
    """Whether it repeats one of the best points with a fresh seed, after the race."""
    return trial.origin is not None and trial.origin.get("kind") == CONFIRMATION


def view(trial: Progress, *, has_earned: bool = False) -> Tried:
    """The trial as the sampler sees it. One that waits at its rung has been judged there, and so
    has one beyond it where all `has_earned` to go on (asha promote): it counts by its last score,
    since TPE takes whatever runs for bad. One stopped by hand before any score says nothing."""
    state = trial.state
    if state not in ENDED:
        is_judged = trial.scores and (has_earned or state == "WAITING")
        state = "PRUNED" if is_judged else "RUNNING"
    own_doing = trial.state == "FAIL" and not (trial.reason or "").startswith(FAULT)
    is_unjudged = trial.state == "PRUNED" and not trial.scores
    return Tried(
        params=trial.params,
        state="FAIL" if is_unjudged else state,
        steps=trial.scores,
        infeasible=own_doing,
    )


def judge(result: EvalResult, milestone: int, trial: Progress, rung_metric: str) -> float:
    """What an evaluation is worth, higher being better: the objective; at a rung that decides by
    loss, the loss below zero, with which no other is ever compared."""
    by_loss = rung_metric == "loss" or result.value is None
    if by_loss and milestone < trial.config.train_turns:
        assert result.nats_per_word is not None, f"no loss at {milestone} turns"
        return -result.nats_per_word
    return result.score


def find_wrong(result: EvalResult, asked: ValidationRequest) -> str | None:
    """The first of the numbers asked for that is missing or not finite, in words."""
    by_goals = ("inform", "success") if result.objective is None else ()
    names = ("value", "bleu", *by_goals) if asked.replies else ("nats_per_word",)
    values = {(result.name if n == "value" else n): getattr(result, n) for n in names}
    values |= {"loss_nats": 0.0 if result.loss_nats is None else result.loss_nats}
    values |= result.richness
    for name, value in values.items():
        if value is None:
            return f"the worker reported no {name}"
        if not math.isfinite(value):
            return f"{name} is {value} after {result.turns_seen} turns"
    return None


def drop_training(config: TrialConfig) -> TrialConfig:
    """The untuned base under the same task and decoding."""
    values = {**config.to_dict(), "method": "none", "train_turns": 0}
    values.pop("adapter", None)
    for decider, allowed, dependants in CONDITIONS:
        if decider in ("method", "schedule") and values.get(decider) not in allowed:
            values = {name: v for name, v in values.items() if name not in dependants}
    return TrialConfig.from_dict(values)
