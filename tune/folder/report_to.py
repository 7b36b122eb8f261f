"""A sweep's trials as trackers have them: one run a trial, grouped by sweep.

What has been told is kept in the sweep's folder, so that a resumed sweep goes on with the same
runs, tells what was missed and nothing twice.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from analysis.training import list_metrics, read_training
from trainable.result import RESOURCE
from trainable.system.json_object import read_object
from trainable.system.throttle import Throttle
from trainable.system.whole import write_json
from tune.folder.metrics import pick_metrics
from tune.folder.mlflow_runs import TOLD
from tune.folder.trackers import Backend, Lines, open_backend

STEPS_S = 10.0  # between tellings of steps while a trial trains


class Reporter:
    """Tells one backend what the recorder tells it. A backend that fails is left out from then on,
    with a line in `failure`: no sweep ends for it."""

    def __init__(self, name: str, sweep: str, folder: Path) -> None:
        self.name, self.path = name, folder / TOLD
        self.connect = partial(open_backend, name, sweep, folder)
        self.backend: Backend | None = None  # until there is something to tell
        self.failure: str | None = None
        self.opened: set[str] = set()
        self.heard: dict[str, int] = {}  # trial -> last turns told by this driver
        self.configs: dict[str, Mapping[str, Any]] = {}
        self.params: dict[str, Mapping[str, Any]] = {}
        self.told: dict[str, Any] = self._read().get(name, {})  # trial -> last turns, or its end
        # trial -> turns of the last of its steps that were told: they run ahead of its evaluations
        self.steps: dict[str, int] = self._read().get(f"{name} steps", {})
        self.grown: set[str] = set()  # trials with steps that are to be told
        self.throttle = Throttle(STEPS_S)

    def on_event(self, event: Mapping[str, Any]) -> None:
        kind, trial = event["event"], event.get("trial", "")
        if kind == "trial":
            self.configs[trial] = event["config"]
            self.params[trial] = event.get("params") or {}
        elif kind == "eval":
            self._try(lambda: self._tell_eval(trial, event))
        elif kind == "end":
            self._try(lambda: self._tell_end(trial, event["state"]))

    def on_steps(self, trials: Iterable[str]) -> None:
        """Trials that have trained on since their last evaluation: told every few seconds, for a
        hundredth of the time at most."""
        self.grown |= set(trials)
        if self.grown and self.throttle.is_due():
            with self.throttle:
                self._try(self._tell_grown)

    def _try(self, tell: Callable[[], None]) -> None:
        if self.failure is not None:
            return
        try:
            tell()
        except Exception as error:  # a service's own faults are of any kind
            self.failure = f"--report-to {self.name} failed: {type(error).__name__}: {error}"

    def _tell_eval(self, trial: str, event: Mapping[str, Any]) -> None:
        turns: int = event[RESOURCE]
        if self._has_ended(trial) or turns <= self._find_told(trial):
            return
        backend = self._open(trial)
        steps = [line for line in self._list_steps(trial) if line[0] <= turns]
        backend.log(trial, [*steps, (turns, pick_metrics(event))])
        self.heard[trial] = turns
        self.steps[trial] = max(turns, self.steps.get(trial, -1))
        if not backend.holds:  # else on no disk yet: a driver that resumes tells it anew
            self.told[trial] = turns
            self._keep()

    def _tell_end(self, trial: str, state: str) -> None:
        self.grown.discard(trial)
        if self._has_ended(trial):
            return
        backend = self._open(trial)
        if steps := self._list_steps(trial):  # of a trial that failed on its way
            backend.log(trial, steps)
        backend.end(trial, state)
        self.told[trial] = state
        self.steps.pop(trial, None)
        self._keep()

    def _tell_grown(self) -> None:
        for trial in sorted(self.grown):
            backend = self._open(trial)
            if steps := self._list_steps(trial, is_growing=True):
                backend.log(trial, steps)
                self.steps[trial] = steps[-1][0]
        self.grown.clear()
        self._keep()

    def _open(self, trial: str) -> Backend:
        self.backend = backend = self.backend or self.connect()
        if trial not in self.opened:
            backend.open(trial, self.configs.get(trial, {}), self.params.get(trial, {}))
            self.opened.add(trial)
        return backend

    def _has_ended(self, trial: str) -> bool:
        return isinstance(self.told.get(trial), str)

    def _find_told(self, trial: str) -> int:
        """Turns of the last evaluation that was told; -1: none."""
        return max(self.told.get(trial, -1), self.heard.get(trial, -1))

    def _list_steps(self, trial: str, *, is_growing: bool = False) -> Lines:
        """Of its training what is new; while its last point still grows, without it."""
        points = read_training(self.path.parent, trial)
        lines = list_metrics(points)
        if is_growing and points and points[-1].n_steps < points[0].n_steps:
            lines.pop()
        after = max(self._find_told(trial), self.steps.get(trial, -1))
        return [line for line in lines if line[0] > after]

    def _keep(self) -> None:
        own: dict[str, Any] = {self.name: self.told}
        if self.backend is not None and not self.backend.holds:
            own[f"{self.name} steps"] = self.steps
        write_json(self.path, {**self._read(), **own})

    def _read(self) -> dict[str, Any]:
        try:
            return read_object(self.path)
        except (OSError, ValueError):
            return {}
