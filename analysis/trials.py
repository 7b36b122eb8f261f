"""A trial as a sweep's records tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainable.result import EvalResult, Resolved

BASE_ID, BASE_NUMBER = "base", -1  # the untuned model
RUNNING = "RUNNING"
STATES = ("COMPLETE", "PRUNED", "RUNNING", "FAIL")
CONFIRMATION = "confirm"  # kind of a trial's origin
EARLY_SEEDS = 2  # fresh ones that every confirmed point gets, maybe before the race is over


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalRecord(EvalResult):
    """An evaluation with where and when it was made."""

    place: Mapping[str, Any] = field(default_factory=dict)  # node, gpu, slot
    started_s: float = 0.0  # unix time at which the work for this result began
    opening_s: float | None = None  # after which the trial had its model; None: it had it, or older
    time_s: float = 0.0  # unix time at which it was recorded


@dataclass(frozen=True, kw_only=True)
class RungDecision:
    """What a rung decided of a point, and on what."""

    turns: int
    trials: tuple[str, ...]  # the point's seeds
    metric: str  # the objective's name, or loss (nats a word; lower is better)
    value: float  # the mean over the seeds
    goes_on: bool  # with asha=promote False: it waits until it is among the best
    time_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    id: str
    number: int  # -1: the untuned base
    params: Mapping[str, Any]  # the searched fields that exist for this trial
    config: Mapping[str, Any]  # TrialConfig.to_dict(), as recorded
    resolved: Resolved | None = None  # None until the trial met its model
    evals: tuple[EvalRecord, ...] = ()  # in the order of turns_seen
    state: str = RUNNING  # one of STATES
    reason: str | None = None  # why it failed or was stopped
    started_s: float = 0.0
    ended_s: float | None = None
    # of a clone: {"trial", "set", "warm", "in_study", "request"}; of a confirmation: {"kind",
    # "trial", "set", "warm", "in_study"}; None: it was proposed
    origin: Mapping[str, Any] | None = None
    # of a point that somebody outside proposed: {"why", "request"}; None: the sampler did
    proposal: Mapping[str, Any] | None = None

    @property
    def last(self) -> EvalRecord | None:
        return self.evals[-1] if self.evals else None

    @property
    def replied(self) -> tuple[EvalRecord, ...]:
        """The evaluations with a value of the objective: those with replies, of the loss all."""
        return tuple(e for e in self.evals if e.value is not None)

    @property
    def is_base(self) -> bool:
        return self.number < 0

    @property
    def is_confirmation(self) -> bool:
        """Whether it repeats one of the best points with a fresh seed, after the race."""
        return self.origin is not None and self.origin.get("kind") == CONFIRMATION

    @property
    def is_evaluated_at_end(self) -> bool:
        return self.eval_at(int(self.config.get("train_turns") or 0)) is not None

    def eval_at(self, turns: int) -> EvalRecord | None:
        """The first evaluation at or after `turns`: what the rung there was decided on."""
        for evaluation in self.evals:  # asked of thousands at once, where a generator takes longer
            if evaluation.turns_seen >= turns:
                return evaluation
        return None


def list_milestones(trials: Iterable[TrialRecord], config: Mapping[str, Any]) -> tuple[int, ...]:
    """See `SweepRecords.milestones_turns`."""
    rungs = {int(r) for r in config.get("rungs_turns") or ()}
    ends = {int(t.config.get("train_turns") or 0) for t in trials}
    return tuple(sorted({0, *rungs, *ends}))


def find_milestone(milestones_turns: Iterable[int], turns_seen: int) -> int:
    """The highest of the milestones reached with `turns_seen`."""
    return max(turns for turns in milestones_turns if turns <= max(turns_seen, 0))


def are_confirmed(trials: Iterable[TrialRecord]) -> bool:
    """Whether the race is over and its best are being confirmed: before that, no point is given
    more than EARLY_SEEDS fresh ones."""
    fresh = [t for t in trials if t.is_confirmation]
    most = max(Counter((t.origin or {}).get("trial") for t in fresh).values(), default=0)
    return most > EARLY_SEEDS or any(t.config.get("method") == "none" for t in fresh)


def is_unfinished(
    trials: Iterable[TrialRecord], config: Mapping[str, Any], exhausted_at: int | None
) -> bool:
    """Whether trials lack an end or are still to come, under the SweepConfig `config`."""
    known, wanted = tuple(trials), int(config.get("trials") or 0)
    proposed = sum(not t.is_base and t.origin is None for t in known)
    is_to_come = proposed < wanted and exhausted_at is None
    is_confirmed = not config.get("confirm") or are_confirmed(known)
    has_ended = any(t.state == "COMPLETE" and not t.is_base for t in known)
    if has_ended and not is_confirmed:
        return True
    return is_to_come or any(t.state == RUNNING for t in known)
