"""The trials of a search: takes reports, decides who goes on. Whatever changes is recorded."""

from __future__ import annotations

from dataclasses import dataclass

from trainable.evaluation.objective import COMBINED, Objective
from trainable.result import EvalResult, ValidationRequest
from trainable.system.clock import now_s
from trainable.system.retries import StorageFault
from trainable.worker.lease import Milestone, Report
from tune.folder.recorder import Recorder
from tune.search.config import SweepConfig
from tune.search.milestones import list_milestones
from tune.search.nodes import Nodes
from tune.search.parking import Parking
from tune.search.points import Race
from tune.search.rungs import open_rungs
from tune.search.trials import ASKED, ENDED, FAULT, Progress, find_wrong, is_confirmation, judge


@dataclass(frozen=True, kw_only=True)
class Closing:
    """Why a search gives out no more work before its end."""

    why: str
    remedy: str = ""  # the flag that lets it go on
    code: int = 0  # the command's exit code


class TrialTable:
    def __init__(
        self, config: SweepConfig, recorder: Recorder, objective: Objective | None = None
    ) -> None:
        self.config, self.recorder = config, recorder
        self.objective = objective or COMBINED
        self.trials: dict[str, Progress] = {}
        self.rungs = open_rungs(config.asha, config.idle, config.rungs_turns, config.eta)
        self.race = Race(self.rungs, config.seeds, config.trials, config.asha != "off")
        self.closing: Closing | None = None  # a budget is spent, or somebody asked
        self.nodes = Nodes()
        self.parking = Parking(recorder, config.parked_gib)
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

    def report(self, report: Report) -> bool:
        """Takes a worker's report; whether it goes on with the trial. A report heard before (a
        worker that was restarted repeats its last) changes nothing. Raises StorageFault."""
        trial = self.trials[report.trial]
        trial.since_s = now_s()
        for note in report.notes:
            self.recorder.record_note(note)
        if trial.state != "RUNNING":
            return False
        if report.resolved is not None and not trial.is_resolved:
            self.recorder.record_resolved(trial.id, report.resolved)
            trial.is_resolved = True
        if report.lost is not None or report.fault is not None:
            return self._go_elsewhere(trial, report)
        self.recorder.keep_curve(trial.id, report.curve)
        if report.evaluation is None:
            return self._end(trial, "FAIL", report.failure or "the worker reported no metric")
        result = report.evaluation.result
        if result.turns_seen <= trial.turns_seen:
            return True
        if wrong := find_wrong(result, self.milestone(trial, result.turns_seen).asked):
            return self._end(trial, "FAIL", wrong)
        self.recorder.record_eval(report)
        goes_on = self.hear(trial, result)
        self.record_rungs()
        if not goes_on and trial.state == "RUNNING":
            self.settle(trial)
        self._follow(trial)
        self.park()
        if goes_on and self.closing:
            trial.state = "QUEUED"  # until the sweep is resumed
            return False
        return goes_on

    def _go_elsewhere(self, trial: Progress, report: Report) -> bool:
        """The trial's node is at fault: it gets another. Raises StorageFault where everybody has
        lost the storage."""
        trial.state, fault = "QUEUED", report.fault
        if fault is None or (report.lost is not None and not self.recorder.is_there()):
            raise StorageFault(0, report.lost)
        is_out = self.nodes.blame(trial.id, trial.config, fault)
        done = "is left out from now on" if is_out else "is tried once more"
        self.recorder.record_note(
            f"trial {trial.id} starts again elsewhere: node {fault.name} {done}: {fault.reason}"
        )
        return False

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
        if trial.number < 0 and result.value is None:  # a baseline by another objective
            return False
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

    def park(self) -> None:
        """Those that wait keep what there is room for."""
        waiting = [t.id for t in self.trials.values() if t.state == "WAITING"]
        self.parking.stay_within(waiting, lambda: [t.id for t in self.race.rank_waiting()])

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

    def is_decided(self) -> bool:
        """Whether some wait at a rung and none of them can be promoted any more, where nobody new
        is to come: who races is past the last rung."""
        racing = (t for t in self.running if t.number >= 0 and not is_confirmation(t))
        return self.rungs.is_over() and all(map(self._is_past_rungs, racing))

    def _is_past_rungs(self, trial: Progress) -> bool:
        *rungs, _ = self.milestones(trial)
        return not rungs or trial.turns_seen >= rungs[-1].turns

    def finish(self) -> None:
        """Whoever still waits at a rung was not promoted."""
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
