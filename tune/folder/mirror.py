"""The sweep as `optuna-dashboard runs/NAME/optuna.journal` shows it. Written, never read back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import OptunaError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from search_spaces.space import Space
from trainable.result import OBJECTIVE, RESOURCE
from tune.folder.metrics import pick_metrics

FILE = "optuna.journal"
# told with every evaluation: the page shows six before one scrolls; the others with the end
SHOWN = ("bleu", "inform", "success", "nats_per_word", RESOURCE)
NOTE_CHARACTERS = 2045  # of one attribute


class Journal(JournalFileBackend):
    """Does not wait for the disk: the records do, and the mirror is made of them. Up to `begin` all
    is held, since the file backend takes its lock and opens the file for every entry, of which the
    records of a thousand trials make ten thousand."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, JournalFileOpenLock(str(path))
        super().__init__(str(path), self.lock)
        self.held: list[dict[str, Any]] | None = []

    def begin(self) -> None:
        held, self.held = self.held, None
        self.append_logs(held or [])

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        if self.held is not None:
            return iter(self.held[log_number_from:])
        return super().read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log) + "\n" for log in logs)
        if self.held is not None:
            self.held += map(json.loads, lines.splitlines())
            return
        self.lock.acquire()
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(lines)
        finally:
            self.lock.release()


class Mirror:
    """Takes the recorder's events, those that are `past` first. The study is named after the sweep;
    it is written anew by every driver, so its states are those of the records. The lock is one that
    holds on NFS."""

    def __init__(
        self,
        folder: Path,
        name: str,
        space: Space,
        direction: str = "max",
        past: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self.space = space
        self.ids: dict[str, int] = {}
        self.scores: dict[int, dict[str, float]] = {}  # of each trial's latest evaluation
        self.failure: str | None = None  # why it is told no more
        for stale in (folder / FILE, *folder.glob(f"{FILE}.lock*")):
            stale.unlink(missing_ok=True)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        journal = Journal(folder / FILE)
        self.storage = JournalStorage(journal)
        low = StudyDirection.MINIMIZE if direction == "min" else StudyDirection.MAXIMIZE
        self.study = self.storage.create_new_study([low], name)
        self.base: str | None = None  # the untuned model's trial
        self.objective: str | None = None  # its name, once an evaluation has told it
        self.n_notes = 0
        self.about = f"{space.question}\n\nThe sweep `{name}`, told by its driver."
        self._note(None, self.about)
        for event in past:
            self.on_event(event)
        journal.begin()

    def on_event(self, event: Mapping[str, Any]) -> None:
        if self.failure is None:
            try:
                self._take(event)
            except (OptunaError, KeyError, TypeError, ValueError, RuntimeError) as error:
                # no sweep ends for what is never read back
                self.failure = f"{FILE} is given up: {type(error).__name__}: {error}"

    def _take(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "trial":
            is_known = event["trial"] in self.ids or event["number"] < 0
            if event["number"] < 0:
                self.base = event["trial"]
            if not is_known and is_inside(event) and self.space.holds(event["params"]):
                self._open(event)
        elif kind == "eval" and event.get("trial") == self.base:
            scores = pick_metrics(event)
            for name, value in scores.items():
                self.storage.set_study_user_attr(self.study, f"untuned {name}", value)
            self._note(None, f"{self.about}\n\nThe untuned base model:\n\n{tabulate(scores)}")
        elif event.get("trial") not in self.ids:
            return
        elif kind == "eval":
            self._score(self.ids[event["trial"]], event)
        elif kind == "end":
            self._end(self.ids[event["trial"]], event)

    def _open(self, event: Mapping[str, Any]) -> None:
        params = {n: v for n, v in event["params"].items() if n in self.space.searched}
        template = create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={name: self.space.searched[name] for name in params},
            user_attrs={"trial": event["trial"]},
        )
        self.ids[event["trial"]] = self.storage.create_new_trial(self.study, template)

    def _score(self, trial: int, event: Mapping[str, Any]) -> None:
        """The objective; where no replies were made, the loss beside the values, which it is none
        of. Metrics of the latest evaluation are attributes."""
        self.scores[trial] = scores = pick_metrics(event)
        told = event.get("objective") or {"name": OBJECTIVE, "value": event[OBJECTIVE]}
        self._name_objective(str(told["name"]))
        for name in (str(told["name"]), *SHOWN):
            if name in scores:
                self.storage.set_trial_user_attr(trial, name, scores[name])
        if told["value"] is not None:
            self.storage.set_trial_intermediate_value(trial, event[RESOURCE], told["value"])
        elif event.get("nats_per_word") is not None:
            name = f"nats_per_word at {event[RESOURCE]} turns"
            self.storage.set_trial_user_attr(trial, name, event["nats_per_word"])

    def _name_objective(self, name: str) -> None:
        if self.objective != name:
            self.objective = name
            names = [name.capitalize()]
            self.storage.set_study_system_attr(self.study, "study:metric_names", names)

    def _end(self, trial: int, event: Mapping[str, Any]) -> None:
        scores = self.scores.pop(trial, {})
        for name, score in scores.items():
            self.storage.set_trial_user_attr(trial, name, score)
        if event.get("reason"):
            self.storage.set_trial_user_attr(trial, "reason", event["reason"])
        told = [str(event["reason"])] if event.get("reason") else []
        self._note(trial, "\n\n".join([*told, tabulate(scores)]))
        state = TrialState[event["state"]]
        steps = self.storage.get_trial(trial).intermediate_values
        value = [steps[max(steps)]] if state == TrialState.COMPLETE and steps else None
        self.storage.set_trial_state_values(trial, state, value)

    def _note(self, trial: int | None, text: str) -> None:
        """As optuna-dashboard keeps one; None: the study's."""
        of = "dashboard" if trial is None else f"dashboard:{trial}"
        self.n_notes += 1  # a page that is open takes a note of another number
        self.storage.set_study_system_attr(self.study, f"{of}:note_ver", self.n_notes)
        self.storage.set_study_system_attr(self.study, f"{of}:note_str:0", text[:NOTE_CHARACTERS])


def tabulate(scores: Mapping[str, float]) -> str:
    """
    >>> print(tabulate({"bleu": 23.456}))
    | metric | value |
    | --- | --- |
    | bleu | 23.46 |
    """
    rows = [f"| {name} | {value:.4g} |" for name, value in scores.items()]
    return "\n".join(["| metric | value |", "| --- | --- |", *rows]) if rows else ""


def is_inside(event: Mapping[str, Any]) -> bool:
    """Whether a trial is of the space: a clone may lie outside."""
    return bool((event.get("origin") or {"in_study": True})["in_study"])
