"""What Ray Tune sees of the search: a searcher that hands out leases, a scheduler that passes on
reports, and a callback for faults. All decisions are the search's; no state lives here."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune as ray_tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from trainable.system.retries import StorageFault
from trainable.system.throttle import Throttle
from trainable.worker.lease import Lease
from tune.folder.report_to import Reporter
from tune.search.search import Search
from tune.terminal.live import Display
from tune.workers.heartbeats import HeartbeatReader, take_curves

SURVEY_S = 2.0
HEARTBEATS_S = 1.0  # between looks at what the workers are at
CURVES_S = 5.0  # between looks at how their training goes, step by step


class Unpickled:
    """Ray pickles what it is given, for a state of its own that is not used: leave it nothing."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class LeaseSearcher(Unpickled, Searcher):
    """A Ray trial is one lease: a stretch of work on a trial of ours, not the trial itself."""

    def __init__(self, search: Search, survey: Callable[[Search], None]) -> None:
        super().__init__()
        self.search, self.survey = search, survey
        self.surveyed_s = time.monotonic()

    def suggest(self, trial_id: str) -> Any:
        if time.monotonic() - self.surveyed_s > SURVEY_S:  # nodes come and go
            self.survey(self.search)
            self.surveyed_s = time.monotonic()
        lease = self.search.lease()
        if lease is not None:
            return {"lease": lease}
        return None if self.search.running else Searcher.FINISHED

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The search has heard it from the scheduler."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a search is built again from the sweep's records."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, likewise."""


class ReportScheduler(Unpickled, FIFOScheduler):
    """Ray Tune's scheduler: the search decides of each report whether its lease goes on."""

    def __init__(self, search: Search, release: Callable[[str], None]) -> None:
        super().__init__()
        self.search, self.release = search, release

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        with keep_fault(self.search):
            if self.search.fault is None and self.search.report(result["report"]):
                return TrialScheduler.CONTINUE
        self.release(lease_of(trial).trial)
        return TrialScheduler.STOP


class FaultCallback(Unpickled, ray_tune.Callback):
    """Ray Tune's callback: a lease that failed is told to the search, and its slot is released."""

    def __init__(
        self, search: Search, release: Callable[[str], None], check: Callable[[], None]
    ) -> None:
        self.search, self.release, self.check = search, release, check

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        result.pop("report", None)  # recorded; Ray need not keep it

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.check()  # where Ray itself is lost, it is not the trial's fault
        self.release(lease_of(trial).trial)
        with keep_fault(self.search):
            self.search.interrupt(lease_of(trial).trial, describe_fault(trial))


class ForgetCallback(Unpickled, ray_tune.Callback):
    """Ray keeps all trials until the end, where nobody asks for them: without its lease, its last
    result and the means of its metrics an ended one takes a tenth of the memory. To be told last.
    """

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        trial.config.clear()
        trial.evaluated_params.clear()
        trial.experiment_tag = None  # spells the lease
        known = trial.run_metadata
        known.last_result, known.metric_analysis, known.metric_n_steps = {}, {}, {}

    on_trial_error = on_trial_complete


class ControlCallback(Unpickled, ray_tune.Callback):
    """Lets the driver hear what is asked of it. What it raises ends Ray Tune's loop."""

    def __init__(
        self, search: Search, look: Callable[[], list[str]], release: Callable[[str], None]
    ) -> None:
        self.search, self.look, self.release = search, look, release

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self.search.fault is not None:
            raise self.search.fault
        for stopped in self.look():
            self.release(stopped)
            for trial in trials:
                if not trial.is_finished() and lease_of(trial).trial == stopped:
                    end_worker(trial)


class HeartbeatsCallback(Unpickled, ray_tune.Callback):
    """Lets the live table know what the workers are at, once a second."""

    def __init__(self, heartbeats: HeartbeatReader, display: Display) -> None:
        self.heartbeats, self.display = heartbeats, display
        self.next_s = 0.0

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self.display.live is not None and time.monotonic() >= self.next_s:
            self.next_s = time.monotonic() + HEARTBEATS_S
            self.display.progress.heartbeats = self.heartbeats.look()


class CurvesCallback(Unpickled, ray_tune.Callback):
    """Keeps the curves of trials that are training, and tells the trackers: every few seconds, for
    a hundredth of the time at most."""

    def __init__(self, search: Search, reporters: Sequence[Reporter]) -> None:
        self.search, self.reporters = search, reporters
        self.throttle = Throttle(CURVES_S)

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if not self.throttle.is_due():
            return
        grown: list[str] = []
        with self.throttle, keep_fault(self.search):
            running = {trial.id for trial in self.search.running}
            for trial, curve in take_curves():
                if trial in running and self.search.recorder.keep_grown(trial, curve):
                    grown.append(trial)
        for reporter in self.reporters:
            reporter.on_steps(grown)


def end_worker(trial: Any) -> None:
    """Kills the process of one that is stopped while it works alone; a slot's is only waiting."""
    worker = trial.temporary_state.ray_actor
    if worker is not None and lease_of(trial).pool is None:
        ray.kill(worker)


@contextlib.contextmanager
def keep_fault(search: Search) -> Iterator[None]:
    """Ray Tune wraps what is raised while it handles a result: the fault is kept for the next
    step."""
    try:
        yield
    except StorageFault as fault:
        search.fault = search.fault or fault


def lease_of(trial: Any) -> Lease:
    lease: Lease = trial.config["lease"]
    return lease


def describe_fault(trial: Any) -> str:
    """The last line of what the worker died of."""
    path = Path(trial.error_file) if trial.error_file else None
    text = path.read_text(encoding="utf-8") if path and path.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any("actor died" in line.lower() for line in lines[-10:]):
        return "its process died"
    return lines[-1] if lines else "no reason was given"
