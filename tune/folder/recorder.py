"""The only writer of a sweep's folder. What it has appended survives the death of anything."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from analysis.records import FORMAT, RUNNING, SweepRecords
from trainable.storage.checkpoint import keep_best_and_last
from trainable.storage.remote import find_remote
from trainable.storage.remote_checkpoints import prune
from trainable.system.clock import now_s
from trainable.system.inside import stay_inside
from trainable.system.retries import insist
from trainable.system.whole import write_whole
from trainable.trial import Evaluation, Resolved, TrialConfig
from trainable.worker.lease import Report

Event = Mapping[str, Any]
DETAILS = ("dialogues.json", "responses.json")


class Listener(Protocol):
    def on_event(self, event: Event) -> None: ...


class Recorder:
    """Appends events to evals.jsonl, each on disk before anyone hears of it. A storage that does
    not answer is tried again, and `say` told. Raises StorageFault when it takes no more; what was
    written of an event then is cut off before the next."""

    def __init__(
        self,
        folder: Path,
        listeners: Iterable[Listener] = (),
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder, self.say = folder, say
        self.remote = find_remote(folder)
        self.listeners = list(listeners)
        self._last_s = 0.0
        for part in ("checkpoints", "trials"):  # made here only: without them, the storage is away
            (folder / part).mkdir(parents=True, exist_ok=True)
        self._path = folder / "evals.jsonl"
        self._path.touch()
        self._size = insist(self._cut_torn_line, say)  # of the whole lines, in bytes

    def follow(self, records: SweepRecords) -> None:
        """Has what is recorded come after those, whatever the clock says: their order decides."""
        self._last_s = max((e.time_s for t in records.trials for e in t.evals), default=0.0)

    def record_trial(
        self,
        trial: str,
        number: int,
        params: Mapping[str, Any],
        config: TrialConfig,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        """`origin`: of a clone, see tune.clone."""
        values = {"number": number, "params": dict(params), "config": config.to_dict()}
        own = {"origin": dict(origin)} if origin else {}
        self._append({"event": "trial", "trial": trial, **values, **own})

    def record_resolved(self, trial: str, resolved: Resolved) -> None:
        self._append({"event": "resolved", "trial": trial, **asdict(resolved)})

    def record_eval(self, report: Report) -> None:
        evaluation = report.evaluation
        assert evaluation is not None
        if evaluation.responses:
            insist(lambda: self._write_details(report.trial, evaluation), self.say)
            self.publish(f"trials/{report.trial}/{name}" for name in DETAILS)
        place = {"place": dict(report.place), "started_s": now_s() - report.worked_s}
        self._append({"event": "eval", "trial": report.trial, **asdict(evaluation.result), **place})

    def record_rung(
        self, turns: int, trials: Sequence[str], metric: str, value: float, goes_on: bool
    ) -> None:
        """What a rung decided of a point, and the mean over its seeds that it decided on."""
        decided = {"trials": list(trials), "metric": metric, "value": value, "goes_on": goes_on}
        self._append({"event": "rung", "turns": turns, **decided})

    def record_end(self, trial: str, state: str, reason: str | None) -> None:
        """Also drops the checkpoints that nobody needs any more."""
        self._append({"event": "end", "trial": trial, "state": state, "reason": reason})
        checkpoints = stay_inside(self.folder, f"checkpoints/{trial}")
        if state == "COMPLETE":
            keep_best_and_last(checkpoints, last=1)
        else:
            shutil.rmtree(checkpoints, ignore_errors=True)
        if self.remote is not None:
            there = self.remote.under("checkpoints", trial)
            insist(lambda: prune(there, 1) if state == "COMPLETE" else there.remove(), self.say)

    def record_note(self, text: str, **facts: Any) -> None:
        self._append({"event": "note", "text": text, **facts})

    def publish(self, names: Iterable[str]) -> None:
        """Copies files to a storage that is no folder."""
        if self.remote is not None:
            remote, listed = self.remote, list(names)
            insist(lambda: remote.push(self.folder, listed), self.say)

    def publish_all(self) -> None:
        """All but the checkpoints, which the workers copy, and what counts for this driver only."""
        files = (p.relative_to(self.folder) for p in self.folder.rglob("*") if p.is_file())
        own = ("checkpoints", "owner.json")
        shown = (f for f in files if not f.name.startswith(".") and f.parts[0] not in own)
        self.publish(str(f) for f in shown)

    def _append(self, event: dict[str, Any]) -> None:
        self._last_s = max(now_s(), self._last_s + 1e-6)  # the order survives in the times
        event["time_s"] = round(self._last_s, 6)
        line = (json.dumps(event, allow_nan=False) + "\n").encode()
        insist(lambda: self._write_line(line), self.say)
        self._size += len(line)
        self.publish(["evals.jsonl"])
        for listener in self.listeners:  # the event is safe; a mirror is written anew by --resume
            insist(partial(listener.on_event, event), self.say)

    def _write_line(self, line: bytes) -> None:
        """Never makes the file: where it is gone, the storage is."""
        with self._path.open("r+b", buffering=0) as file:
            file.truncate(self._size)
            file.seek(self._size)
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())

    def _cut_torn_line(self) -> int:
        """A driver that died while writing left half a line: new events must not be glued to it."""
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self._path, whole)
        return whole

    def _write_details(self, trial: str, evaluation: Evaluation) -> None:
        folder = stay_inside(self.folder, f"trials/{trial}")
        folder.mkdir(exist_ok=True)
        seen = {"turns_seen": evaluation.result.turns_seen}
        dialogues = {**evaluation.dialogues, **seen}
        for name, content in zip(DETAILS, (dialogues, evaluation.responses), strict=True):
            # without an indent and a wait for the disk: these are large, and no record of them
            # is missed where a power cut takes them
            write_whole(folder / name, json.dumps(content, allow_nan=False).encode())


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all, and on disk."""
    data = json.dumps(content, indent=1, allow_nan=False).encode()
    write_whole(path, data, is_awaited=True)


def write_header(folder: Path, header: Mapping[str, Any]) -> None:
    write_json(folder / "sweep.json", {"format": FORMAT, **header})


def replay_events(records: SweepRecords) -> list[Event]:
    """The events that spell these records, in the order of their times."""
    events: list[dict[str, Any]] = []
    for t in records.trials:
        begun = {"event": "trial", "trial": t.id, "number": t.number, "params": dict(t.params)}
        own = {"origin": dict(t.origin)} if t.origin else {}
        events.append({**begun, "config": dict(t.config), "time_s": t.started_s, **own})
        if t.resolved is not None:
            resolved = {"event": "resolved", "trial": t.id, **asdict(t.resolved)}
            events.append({**resolved, "time_s": t.started_s})
        events += [{"event": "eval", "trial": t.id, **asdict(e)} for e in t.evals]
        if t.state != RUNNING:
            end = {"state": t.state, "reason": t.reason, "time_s": t.ended_s}
            events.append({"event": "end", "trial": t.id, **end})
    return sorted(events, key=lambda event: event["time_s"])
