"""What Ray Tune sees of the search: a searcher that hands out leases, a scheduler that passes on
reports, and a callback for faults. All decisions are the search's; no state lives here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune as ray_tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from trainable.lease import Lease
from tune.search import Search


class Unpickled:
    """Ray pickles what it is given, for a state of its own that is not used: leave it nothing."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class LeaseSearcher(Unpickled, Searcher):
    """A Ray trial is one lease: a stretch of work on a trial of ours, not the trial itself."""

    def __init__(self, search: Search) -> None:
        super().__init__()
        self.search = search

    def suggest(self, trial_id: str) -> Any:
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
    def __init__(self, search: Search, release: Callable[[str], None]) -> None:
        super().__init__()
        self.search, self.release = search, release

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if self.search.report(result["report"]):
            return TrialScheduler.CONTINUE
        self.release(lease_of(trial).trial)
        return TrialScheduler.STOP


class FaultCallback(Unpickled, ray_tune.Callback):
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
        self.search.interrupt(lease_of(trial).trial, describe_fault(trial))


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
