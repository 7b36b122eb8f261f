"""The trials of a search, and what becomes of each. Whatever changes is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.records import BASE_ID, BASE_NUMBER
from trainable.evaluation.objective import COMBINED, Objective
from trainable.result import EvalResult, ValidationRequest
from trainable.trial import TrialConfig
from trainable.worker.lease import Milestone
from tune.folder.recorder import Recorder
from tune.search.config import SweepConfig
from tune.search.milestones import list_milestones
from tune.search.points import Race
from tune.search.rungs import open_rungs
from tune.search.trials import (
    ASKED,
    ENDED,
    FAULT,
    Progress,
    is_confirmation,
    judge,
    name_trial,
)


class TrialTable:
    def __init__(
        self, config: SweepConfig, recorder: Recorder, objective: Objective | None = None
    ) -> None:
        self.config, self.recorder = config, recorder
        self.objective = objective or COMBINED
        self.trials: dict[str, Progress] = {}
        self.rungs = open_rungs(config.asha, config.rungs_turns, config.eta)
        self.race = Race(self.rungs, config.seeds, config.trials, config.asha != "off")
        self.n_numbers = 0  # all below may have been given out

    @property
    def running(self) -> list[Progress]:
        return [t for t in self.trials.values() if t.state == "RUNNING"]

    @property
    def searched(self) -> list[Progress]:
        """All but the untuned base, by number."""
        return sorted((t for t in self.trials.values() if t.number >= 0), key=lambda t: t.number)

    @property
    def proposed(self) -> list[Progress]:
        """The searched ones without clones: what `trials` counts."""
        return [t for t in self.searched if t.origin is None]

    @property
    def next_number(self) -> int:
        """Above all that were given out: a trial that is lost from the records keeps its own."""
        return max((self.n_numbers, *(trial.number + 1 for trial in self.trials.values())))

    def milestones(self, trial: Progress) -> tuple[Milestone, ...]:
        turns = trial.config.train_turns
        return list_milestones(self.config, turns, is_confirmation=is_confirmation(trial))

    def milestone(self, trial: Progress, turns_seen: int) -> Milestone:
        """The highest milestone reached: what its scores are compared at."""
        reached = [m for m in self.milestones(trial) if m.turns <= turns_seen]
        return reached[-1] if reached else Milestone(0, ValidationRequest(None))

    def is_at_end(self, trial: Progress) -> bool:
        return trial.turns_seen >= trial.config.train_turns

    def _open(
        self,
        number: int,
        params: Mapping[str, Any],
        config: TrialConfig,
        origin: Mapping[str, Any] | None = None,
        proposal: Mapping[str, Any] | None = None,
    ) -> Progress:
        trial_id = BASE_ID if number == BASE_NUMBER else name_trial(number)
        trial = Progress(trial_id, number, params, config, origin=origin, proposal=proposal)
        self.recorder.record_trial(trial_id, number, params, config, origin, proposal)
        self.add(trial)
        return trial

    def _end(self, trial: Progress, state: str, reason: str | None) -> bool:
        trial.state, trial.reason = state, reason
        self.recorder.record_end(trial.id, state, reason)
        if self.race.leave(trial):
            self.record_rungs()
            self._follow(trial)
        return False

    def hear(self, trial: Progress, result: EvalResult) -> bool:
        """Enters a score in the tables, without a record; whether the trial goes on now: not
        before all seeds of its point have come as far."""
        milestone = self.milestone(trial, result.turns_seen).turns
        trial.turns_seen = max(trial.turns_seen, result.turns_seen)
        trial.scores[milestone] = judge(result, milestone, trial, self.config.rung_metric)
        if trial.number < 0:
            return False
        if self.is_at_end(trial):  # a shorter trial than others takes no place in their rung
            return False
        return self.race.hear(trial, milestone)

    def add(self, trial: Progress) -> None:
        """A trial that is recorded; in the order of their numbers."""
        self.trials[trial.id] = trial
        self.race.enter(trial)

    def settle(self, trial: Progress) -> None:
        """What a trial that does not go on now becomes: complete, waiting, or pruned."""
        if self.is_at_end(trial):
            self._end(trial, "COMPLETE", None)
        elif self.config.asha == "promote" or not self.race.is_judged(trial):
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

    def stop(self, trial_id: str) -> None:
        """The user has seen enough of the trial."""
        trial = self.trials[trial_id]
        at = f" at {max(trial.scores)} turns" if trial.scores else " before its first evaluation"
        self._end(trial, "PRUNED", ASKED + at)

    def finish(self) -> None:
        """Nothing runs and nothing will: whoever still waits at a rung was not promoted."""
        for trial in self.searched:
            if trial.state == "WAITING":
                self._end(trial, "PRUNED", f"not promoted from {max(trial.scores)} turns")

    def record_rungs(self) -> None:
        """What the rungs have decided, and on what."""
        while self.race.judged:
            j = self.race.judged.pop(0)
            is_lower_better = self.objective.direction == "min"
            metric = self.config.rung_metric
            if metric == "objective":
                metric = self.objective.name
            value = -j.mean if metric == "loss" or is_lower_better else j.mean
            self.recorder.record_rung(j.milestone, j.trials, metric, value, j.goes_on)

    def _follow(self, trial: Progress) -> None:
        """The seeds that waited for this one do what has been decided of their point."""
        point = self.race.points.get(trial.id)
        for trial in point.waiting if point else ():
            if self.race.goes_on(trial):
                trial.state = "QUEUED"
            else:
                self.settle(trial)
