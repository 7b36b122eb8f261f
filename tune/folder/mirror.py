"""The sweep as `optuna-dashboard runs/NAME/optuna.journal` shows it. Written, never read back.

The lines of an Optuna journal are spelt here rather than by a JournalStorage, which keeps every
trial of the study in this process for as long as it runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.storages.journal import JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import TrialState

from search_spaces.space import Space
from trainable.result import OBJECTIVE, RESOURCE
from tune.folder.metrics import pick_metrics

FILE = "optuna.journal"
STUDY = 0  # the only one of its journal
# told with every evaluation: the page shows six before one scrolls; the others with the end
SHOWN = ("bleu", "inform", "success", "nats_per_word", RESOURCE)
NOTE_CHARACTERS = 2045  # of one attribute

Entry = dict[str, Any]


class Op(IntEnum):
    """Optuna's numbers for what an entry does: part of the file's format."""

    CREATE_STUDY = 0
    SET_STUDY_USER_ATTR = 2
    SET_STUDY_SYSTEM_ATTR = 3
    CREATE_TRIAL = 4
    SET_TRIAL_STATE_VALUES = 6
    SET_TRIAL_INTERMEDIATE_VALUE = 7
    SET_TRIAL_USER_ATTR = 8


class Mirror:
    """Takes the recorder's events, those that are `past` first. The study is named after the sweep;
    it is written anew by every driver, so its states are those of the records. The lock is one that
    holds on NFS; nobody waits for the disk: the records do, and the mirror is made of them."""

    def __init__(
        self,
        folder: Path,
        name: str,
        space: Space,
        direction: str = "max",
        past: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self.space = space
        self.distributions = {n: distribution_to_json(d) for n, d in space.searched.items()}
        self.ids: dict[str, int] = {}
        self.scores: dict[int, dict[str, float]] = {}  # of each open trial's latest evaluation
        self.values: dict[int, dict[int, float]] = {}  # the objective of each open trial, by turns
        self.failure: str | None = None  # why it is told no more
        self.path, self.lock = folder / FILE, JournalFileOpenLock(str(folder / FILE))
        for stale in (self.path, *folder.glob(f"{FILE}.lock*")):
            stale.unlink(missing_ok=True)
        self.base: str | None = None  # the untuned model's trial
        self.objective: str | None = None  # its name, once an evaluation has told it
        self.n_notes = 0
        self.about = f"{space.question}\n\nThe sweep `{name}`, told by its driver."
        low = StudyDirection.MINIMIZE if direction == "min" else StudyDirection.MAXIMIZE
        self.unwritten = [spell(Op.CREATE_STUDY, study_name=name, directions=[low])]
        self.unwritten += self._note(None, self.about)
        for event in past:
            self._spell(event)
        self._write()

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Raises OSError; what it could not write comes before the next event's entries."""
        self._spell(event)
        self._write()

    def _spell(self, event: Mapping[str, Any]) -> None:
        if self.failure is None:
            try:
                self.unwritten += self._take(event)
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                # no sweep ends for what is never read back
                self.failure = f"{FILE} is given up: {type(error).__name__}: {error}"

    def _write(self) -> None:
        if not self.unwritten:
            return
        lines = "".join(json.dumps(entry) + "\n" for entry in self.unwritten)
        self.lock.acquire()
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(lines)
        finally:
            self.lock.release()
        self.unwritten.clear()

    def _take(self, event: Mapping[str, Any]) -> Iterator[Entry]:
        kind = event["event"]
        if kind == "trial":
            is_known = event["trial"] in self.ids or event["number"] < 0
            if event["number"] < 0:
                self.base = event["trial"]
            if not is_known and is_inside(event) and self.space.holds(event["params"]):
                yield self._open(event)
        elif kind == "eval" and event.get("trial") == self.base:
            scores = pick_metrics(event)
            for name, value in scores.items():
                told = {f"untuned {name}": value}
                yield spell(Op.SET_STUDY_USER_ATTR, study_id=STUDY, user_attr=told)
            yield from self._note(
                None, f"{self.about}\n\nThe untuned base model:\n\n{tabulate(scores)}"
            )
        elif event.get("trial") not in self.ids:
            return
        elif kind == "eval":
            yield from self._score(self.ids[event["trial"]], event)
        elif kind == "end":
            yield from self._end(self.ids[event["trial"]], event)

    def _open(self, event: Mapping[str, Any]) -> Entry:
        params = {n: v for n, v in event["params"].items() if n in self.space.searched}
        values = {n: self.space.searched[n].to_internal_repr(v) for n, v in params.items()}
        self.ids[event["trial"]] = len(self.ids)
        return spell(
            Op.CREATE_TRIAL,
            study_id=STUDY,
            state=TrialState.RUNNING,
            datetime_start=spell_now(),
            params=values,
            distributions={name: self.distributions[name] for name in params},
            user_attrs={"trial": event["trial"]},
        )

    def _score(self, trial: int, event: Mapping[str, Any]) -> Iterator[Entry]:
        """The objective; where no replies were made, the loss beside the values, which it is none
        of. Metrics of the latest evaluation are attributes."""
        self.scores[trial] = scores = pick_metrics(event)
        told = event.get("objective") or {"name": OBJECTIVE, "value": event[OBJECTIVE]}
        yield from self._name_objective(str(told["name"]))
        for name in (str(told["name"]), *SHOWN):
            if name in scores:
                yield describe(trial, name, scores[name])
        turns, value = event[RESOURCE], told["value"]
        if value is not None:
            self.values.setdefault(trial, {})[turns] = value
            what = Op.SET_TRIAL_INTERMEDIATE_VALUE
            yield spell(what, trial_id=trial, step=turns, intermediate_value=value)
        elif event.get("nats_per_word") is not None:
            yield describe(trial, f"nats_per_word at {turns} turns", event["nats_per_word"])

    def _name_objective(self, name: str) -> Iterator[Entry]:
        if self.objective != name:
            self.objective = name
            yield describe_study("study:metric_names", [name.capitalize()])

    def _end(self, trial: int, event: Mapping[str, Any]) -> Iterator[Entry]:
        scores, values = self.scores.pop(trial, {}), self.values.pop(trial, {})
        for name, score in scores.items():
            yield describe(trial, name, score)
        if event.get("reason"):
            yield describe(trial, "reason", event["reason"])
        told = [str(event["reason"])] if event.get("reason") else []
        yield from self._note(trial, "\n\n".join([*told, tabulate(scores)]))
        yield spell(
            Op.SET_TRIAL_STATE_VALUES,
            trial_id=trial,
            state=TrialState[event["state"]],
            values=[values[max(values)]] if event["state"] == "COMPLETE" and values else None,
            datetime_complete=spell_now(),
        )

    def _note(self, trial: int | None, text: str) -> Iterator[Entry]:
        """As optuna-dashboard keeps one; None: the study's."""
        of = "dashboard" if trial is None else f"dashboard:{trial}"
        self.n_notes += 1  # a page that is open takes a note of another number
        yield describe_study(f"{of}:note_ver", self.n_notes)
        yield describe_study(f"{of}:note_str:0", text[:NOTE_CHARACTERS])


def spell(op: Op, **what: Any) -> Entry:
    return {"op_code": op, "worker_id": "driver", **what}


def describe(trial: int, name: str, value: Any) -> Entry:
    return spell(Op.SET_TRIAL_USER_ATTR, trial_id=trial, user_attr={name: value})


def describe_study(name: str, value: Any) -> Entry:
    return spell(Op.SET_STUDY_SYSTEM_ATTR, study_id=STUDY, system_attr={name: value})


def spell_now() -> str:
    return datetime.now(tz=UTC).isoformat(timespec="microseconds")


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
