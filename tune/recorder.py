"""The only writer of a sweep's folder. What it has appended survives the death of anything."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from analysis.records import FORMAT, SweepRecords
from trainable.checkpoint import keep_best_and_last
from trainable.lease import Report
from trainable.trial import Evaluation, Resolved, TrialConfig

Event = Mapping[str, Any]


class Listener(Protocol):
    def on_event(self, event: Event) -> None: ...


class Recorder:
    """Appends events to evals.jsonl, each on disk before anyone hears of it. Raises OSError when
    the storage does not take them."""

    def __init__(self, folder: Path, listeners: Iterable[Listener] = ()) -> None:
        self.folder = folder
        self.listeners = list(listeners)
        self._last_s = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        _cut_torn_line(folder / "evals.jsonl")
        self._file = (folder / "evals.jsonl").open("a", encoding="utf-8")

    def record_trial(
        self, trial: str, number: int, params: Mapping[str, Any], config: TrialConfig
    ) -> None:
        values = {"number": number, "params": dict(params), "config": config.to_dict()}
        self._append({"event": "trial", "trial": trial, **values})

    def record_resolved(self, trial: str, resolved: Resolved) -> None:
        self._append({"event": "resolved", "trial": trial, **asdict(resolved)})

    def record_eval(self, report: Report) -> None:
        assert report.evaluation is not None
        self._write_details(report.trial, report.evaluation)
        place = {"place": dict(report.place), "started_s": report.started_s}
        self._append(
            {"event": "eval", "trial": report.trial, **asdict(report.evaluation.result), **place}
        )

    def record_end(self, trial: str, state: str, reason: str | None) -> None:
        """Also drops the checkpoints that nobody needs any more."""
        self._append({"event": "end", "trial": trial, "state": state, "reason": reason})
        checkpoints = self.folder / "checkpoints" / trial
        if state == "COMPLETE":
            keep_best_and_last(checkpoints, last=1)
        else:
            shutil.rmtree(checkpoints, ignore_errors=True)

    def record_note(self, text: str) -> None:
        self._append({"event": "note", "text": text})

    def close(self) -> None:
        self._file.close()

    def _append(self, event: dict[str, Any]) -> None:
        self._last_s = max(time.time(), self._last_s + 1e-6)  # the order survives in the times
        event["time_s"] = round(self._last_s, 6)
        self._file.write(json.dumps(event, allow_nan=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        for listener in self.listeners:
            listener.on_event(event)

    def _write_details(self, trial: str, evaluation: Evaluation) -> None:
        folder = self.folder / "trials" / trial
        folder.mkdir(parents=True, exist_ok=True)
        seen = {"turns_seen": evaluation.result.turns_seen}
        write_json(folder / "dialogues.json", {**evaluation.dialogues, **seen})
        write_json(folder / "responses.json", evaluation.responses)


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all."""
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def write_header(folder: Path, header: Mapping[str, Any]) -> None:
    write_json(folder / "sweep.json", {"format": FORMAT, **header})


def replay_events(records: SweepRecords) -> Iterable[Event]:
    """The events that spell these records, in the order of their times where it matters."""
    for t in records.trials:
        yield {
            **{"event": "trial", "trial": t.id, "number": t.number, "params": dict(t.params)},
            **{"config": dict(t.config), "time_s": t.started_s},
        }
        if t.resolved is not None:
            yield {"event": "resolved", "trial": t.id, **asdict(t.resolved), "time_s": t.started_s}
    evals = [(e, t.id) for t in records.trials for e in t.evals]
    for e, trial in sorted(evals, key=lambda pair: pair[0].time_s):
        yield {"event": "eval", "trial": trial, **asdict(e)}
    for t in records.trials:
        if t.state != "RUNNING":
            end = {"state": t.state, "reason": t.reason, "time_s": t.ended_s}
            yield {"event": "end", "trial": t.id, **end}


def _cut_torn_line(path: Path) -> None:
    """A driver that died while writing left half a line: new events must not be glued to it."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
