"""The search itself: asks for points, hears reports, decides who goes on. Knows no Ray.

A worker holds a lease on a trial until the search tells it to stop. A trial that pauses at its
rung (asha=promote), was interrupted, or lost its driver gets a later lease under the same id and
goes on from its last checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search_spaces.space import Space
from trainable.lease import Lease, Report
from trainable.trial import CONDITIONS, OBJECTIVE, TrialConfig
from tune.config import SweepConfig
from tune.proposals import Tried, propose
from tune.recorder import Recorder
from tune.rungs import open_rungs

BASE_ID, BASE_NUMBER = "base", -1
ENDED = ("COMPLETE", "PRUNED", "FAIL")
FAULT = "given up"  # begins the reason of a failure that was not the trial's own doing


@dataclass
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


class Search:
    def __init__(self, config: SweepConfig, space: Space, recorder: Recorder) -> None:
        self.config, self.space, self.recorder = config, space, recorder
        self.trials: dict[str, Progress] = {}
        self.rungs = open_rungs(config.asha, config.rungs_turns, config.eta)
        self.room = config.concurrent or 1
        self.pool: str | None = None  # the name of the engine pool's actor, if there is one
        self.is_exhausted = False  # the space has no point left

    # What is asked

    def lease(self) -> Lease | None:
        """Work for one more worker: an interrupted trial, one that earned promotion, or a new
        one. None when there is no room or nothing to do now."""
        if len(self.running) >= self.room:
            return None
        trial = self._next_queued() or self._next_promoted() or self._open_next()
        if trial is None and not self.running:
            trial = self._known(self.rungs.promote_last())
        if trial is None:
            return None
        trial.state = "RUNNING"
        return Lease(
            trial=trial.id,
            config=trial.config,
            milestones=self.milestones(trial),
            reported_turns=trial.turns_seen,
            checkpoints=self.recorder.folder / "checkpoints" / trial.id,
            pool=self.pool,
        )

    @property
    def running(self) -> list[Progress]:
        return [t for t in self.trials.values() if t.state == "RUNNING"]

    @property
    def searched(self) -> list[Progress]:
        """All but the untuned base, by number."""
        return sorted((t for t in self.trials.values() if t.number >= 0), key=lambda t: t.number)

    def milestones(self, trial: Progress) -> tuple[tuple[int, int], ...]:
        return self.config.milestones(trial.config.train_turns)

    # What is told

    def report(self, report: Report) -> bool:
        """Takes a worker's report; whether it goes on with the trial. A report heard before (a
        worker that was restarted repeats its last) changes nothing."""
        trial = self.trials[report.trial]
        for note in report.notes:
            self.recorder.record_note(note)
        if trial.state != "RUNNING":
            return False
        if report.resolved is not None and not trial.is_resolved:
            self.recorder.record_resolved(trial.id, report.resolved)
            trial.is_resolved = True
        if report.evaluation is None:
            return self._end(trial, "FAIL", report.failure or "the worker reported no metric")
        result = report.evaluation.result
        if result.turns_seen <= trial.turns_seen:
            return True
        if not math.isfinite(result.combined):
            return self._end(trial, "FAIL", f"{OBJECTIVE} is {result.combined}")
        self.recorder.record_eval(report)
        goes_on = self.hear(trial, result.turns_seen, result.combined)
        if not goes_on and trial.state == "RUNNING":
            self.settle(trial)
        return goes_on

    def hear(self, trial: Progress, turns_seen: int, score: float) -> bool:
        """Enters a score in the tables, without a record; whether the trial goes on now."""
        milestone = self.milestone(trial, turns_seen)
        trial.turns_seen = turns_seen
        trial.scores[milestone] = score
        if trial.number < 0:
            return False
        goes_on = self.rungs.report(trial.id, milestone, score)
        return goes_on and not self.is_at_end(trial)

    def settle(self, trial: Progress) -> None:
        """What a trial that does not go on now becomes: complete, waiting, or pruned."""
        if self.is_at_end(trial):
            self._end(trial, "COMPLETE", None)
        elif self.config.asha == "promote":
            trial.state = "WAITING"
        else:
            best = f"the best 1/{self.config.eta:g} at {max(trial.scores)} turns"
            self._end(trial, "PRUNED", f"below {best}")

    def interrupt(self, trial_id: str, fault: str) -> None:
        """The trial's worker is lost, by no fault of the trial's: it gets another, until
        `max_failures` of them are lost."""
        trial = self.trials[trial_id]
        if trial.state in ENDED:
            return
        trial.faults += 1
        if trial.faults > self.config.max_failures:
            self._end(trial, "FAIL", f"{FAULT} after {trial.faults} faults, the last: {fault}")
            return
        trial.state = "QUEUED"
        text = f"trial {trial_id} starts again from its last checkpoint: {fault}"
        self.recorder.record_note(text)

    def finish(self) -> None:
        """Nothing runs and nothing will: whoever still waits at a rung was not promoted."""
        for trial in self.searched:
            if trial.state == "WAITING":
                self._end(trial, "PRUNED", f"not promoted from {max(trial.scores)} turns")

    def milestone(self, trial: Progress, turns_seen: int) -> int:
        """The highest milestone reached: what its scores are compared at."""
        return max((m for m, _ in self.milestones(trial) if m <= turns_seen), default=0)

    def is_at_end(self, trial: Progress) -> bool:
        return trial.turns_seen >= trial.config.train_turns

    # How

    def _next_queued(self) -> Progress | None:
        queued = (t for t in self.trials.values() if t.state == "QUEUED")
        return min(queued, key=lambda t: t.number, default=None)

    def _next_promoted(self) -> Progress | None:
        return self._known(self.rungs.promote())

    def _known(self, trial_id: str | None) -> Progress | None:
        return None if trial_id is None else self.trials[trial_id]

    def _open_next(self) -> Progress | None:
        if self.config.baseline and BASE_ID not in self.trials:
            point = self.space.first[0] if self.space.first else {}
            config = drop_training(self.space.spell(point, self.config.base))
            return self._open(BASE_ID, BASE_NUMBER, {}, config)
        number = len(self.searched)
        if number >= self.config.trials or self.is_exhausted:
            return None
        history = [view(trial) for trial in self.searched]
        params = propose(self.space, history, self.config.seed, number)
        if params is None:
            self.is_exhausted = True
            self.recorder.record_note(
                f"the space has no point left: {number} of {self.config.trials} trials tried them"
            )
            return None
        config = self.space.spell(params, self.config.base)
        return self._open(f"{number:04d}", number, params, config)

    def _open(
        self, trial_id: str, number: int, params: Mapping[str, Any], config: TrialConfig
    ) -> Progress:
        trial = Progress(trial_id, number, params, config)
        self.trials[trial_id] = trial
        self.recorder.record_trial(trial_id, number, params, config)
        return trial

    def _end(self, trial: Progress, state: str, reason: str | None) -> bool:
        trial.state, trial.reason = state, reason
        self.rungs.drop(trial.id)
        self.recorder.record_end(trial.id, state, reason)
        return False


def view(trial: Progress) -> Tried:
    """The trial as the sampler sees it. One that waits at its rung has been judged there."""
    states = {"QUEUED": "RUNNING", "WAITING": "PRUNED"}
    own_doing = trial.state == "FAIL" and not (trial.reason or "").startswith(FAULT)
    return Tried(
        params=trial.params,
        state=states.get(trial.state, trial.state),
        steps=trial.scores,
        infeasible=own_doing,
    )


def drop_training(config: TrialConfig) -> TrialConfig:
    """The untuned base under the same task and decoding."""
    values = {**config.to_dict(), "method": "none", "train_turns": 0}
    values.pop("adapter", None)
    for decider, allowed, dependants in CONDITIONS:
        if decider in ("method", "schedule") and values.get(decider) not in allowed:
            values = {name: v for name, v in values.items() if name not in dependants}
    return TrialConfig.from_dict(values)
