"""The only writer of a sweep's folder. What it has appended survives the death of anything."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from analysis.lines import EVENTS, is_event, is_torn, parse, read_tail
from analysis.records import SweepRecords
from analysis.training import TRAINING
from trainable.result import Evaluation, Resolved
from trainable.storage.checkpoint import keep_best_and_last
from trainable.storage.remote import find_remote
from trainable.storage.remote_checkpoints import prune
from trainable.system.clock import now_s
from trainable.system.inside import stay_inside
from trainable.system.retries import retry_io
from trainable.system.whole import write_whole
from trainable.training_curve import TrainingCurve
from trainable.trial import ConfigError, TrialConfig
from trainable.worker.lease import Report
from tune.folder.disk import measure_bytes

Event = Mapping[str, Any]
MOST_AHEAD_S = 366 * 86400.0  # a time further ahead is no clock's
DETAILS = ("dialogues.json", "responses.json")


class Listener(Protocol):
    def on_event(self, event: Event) -> None: ...


class Recorder:
    """Appends events to evals.jsonl, each on disk before anyone hears of it. A storage that does
    not answer is tried again, and `say` told. Raises StorageFault when it takes no more; what was
    written of an event then is cut off before the next. Raises ConfigError, and changes nothing,
    where the file does not end as a writer of ours leaves it."""

    def __init__(
        self,
        folder: Path,
        listeners: Iterable[Listener] = (),
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder, self.say = folder, say
        self.remote = find_remote(folder)
        self.listeners = list(listeners)
        self._trained: dict[str, int] = {}  # trial -> turns up to which its curve is kept
        for part in ("checkpoints", "trials"):  # made here only: without them, the storage is away
            (folder / part).mkdir(parents=True, exist_ok=True)
        self._path = folder / EVENTS
        self._path.touch()
        self._size, self._last_s = retry_io(self._end_last_line, say)  # in bytes; of its events
        ahead_s = self._last_s - now_s()  # of a driver whose clock was
        self._ahead_s = ahead_s if 0 < ahead_s < MOST_AHEAD_S else 0.0

    def now_s(self) -> float:
        """The time that is recorded: later than all that a driver before has, whatever the clock
        says now."""
        return now_s() + self._ahead_s

    def record_trial(
        self,
        trial: str,
        number: int,
        params: Mapping[str, Any],
        config: TrialConfig,
        origin: Mapping[str, Any] | None = None,
        proposal: Mapping[str, Any] | None = None,
    ) -> None:
        """`origin`: of a clone, see tune.clone; `proposal`: see tune.propose."""
        values = {"number": number, "params": dict(params), "config": config.to_dict()}
        own = {"origin": dict(origin)} if origin else {}
        own |= {"proposal": dict(proposal)} if proposal else {}
        self._append({"event": "trial", "trial": trial, **values, **own})

    def record_resolved(self, trial: str, resolved: Resolved) -> None:
        self._append({"event": "resolved", "trial": trial, **asdict(resolved)})

    def record_eval(self, report: Report) -> None:
        evaluation = report.evaluation
        assert evaluation is not None
        if evaluation.responses:
            retry_io(lambda: self._write_details(report.trial, evaluation), self.say)
            self.publish(f"trials/{report.trial}/{name}" for name in DETAILS)
        where = {} if report.place is None else report.place.to_dict()
        place = {"place": where, "started_s": self.now_s() - report.worked_s}
        place |= {} if report.opening_s is None else {"opening_s": report.opening_s}
        self._append({"event": "eval", "trial": report.trial, **asdict(evaluation.result), **place})

    def keep_curve(self, trial: str, curve: TrainingCurve | None) -> None:
        """The trial's training so far, in place of what was known of it; before its next event."""
        if curve is None or not curve.points:
            return
        self._trained[trial] = curve.points[-1].turns_seen
        content = json.dumps(curve.to_dict(), allow_nan=False).encode()
        retry_io(lambda: self._write_part(trial, TRAINING, content), self.say)
        self.publish([f"trials/{trial}/{TRAINING}"])

    def keep_grown(self, trial: str, curve: TrainingCurve) -> bool:
        """The same of a trial between two events; False, and nothing is kept, where it is no news:
        sent before what was kept last, or of a stretch that is trained again after a fault."""
        is_grown = bool(curve.points) and curve.points[-1].turns_seen > self._trained.get(trial, 0)
        if is_grown:
            self.keep_curve(trial, curve)
        return is_grown

    def record_rung(
        self, turns: int, trials: Sequence[str], metric: str, value: float, goes_on: bool
    ) -> None:
        """What a rung decided of a point, and the mean over its seeds that it decided on."""
        decided = {"trials": list(trials), "metric": metric, "value": value, "goes_on": goes_on}
        self._append({"event": "rung", "turns": turns, **decided})

    def record_end(self, trial: str, state: str, reason: str | None) -> None:
        """Also drops the checkpoints that nobody needs any more."""
        self._append({"event": "end", "trial": trial, "state": state, "reason": reason})
        if state == "COMPLETE":
            keep_best_and_last(self._place(trial), has_ended=True)
        else:
            self.drop_checkpoints(trial)
        if self.remote is not None:
            there = self.remote.under("checkpoints", trial)
            retry_io(
                lambda: prune(there, has_ended=True) if state == "COMPLETE" else there.remove(),
                self.say,
            )

    def measure_checkpoints(self, trial: str) -> int:
        """Bytes on this disk."""
        return measure_bytes(self._place(trial))

    def drop_checkpoints(self, trial: str) -> None:
        """From this disk: on object storage they stay."""
        shutil.rmtree(self._place(trial), ignore_errors=True)

    def _place(self, trial: str) -> Path:
        return stay_inside(self.folder, f"checkpoints/{trial}")

    def record_note(self, text: str, **facts: Any) -> None:
        self._append({"event": "note", "text": text, **facts})

    def is_there(self) -> bool:
        """Whether this process sees the sweep's folder."""
        return (self.folder / "sweep.json").exists()

    def publish(self, names: Iterable[str]) -> None:
        """Copies files to object storage."""
        if self.remote is not None:
            remote, listed = self.remote, list(names)
            retry_io(lambda: remote.push(self.folder, listed), self.say)

    def publish_all(self) -> None:
        """All but the checkpoints, which the workers copy, and what counts for this driver only."""
        files = (p.relative_to(self.folder) for p in self.folder.rglob("*") if p.is_file())
        own = ("checkpoints", "owner.json")
        shown = (f for f in files if not f.name.startswith(".") and f.parts[0] not in own)
        self.publish(str(f) for f in shown)

    def _append(self, event: dict[str, Any]) -> None:
        self._last_s = max(self.now_s(), self._last_s + 1e-6)
        event["time_s"] = round(self._last_s, 6)
        line = (json.dumps(event, allow_nan=False) + "\n").encode()
        told = parse(line)  # as every reader of the records has it
        retry_io(lambda: self._write_line(line), self.say)
        self._size += len(line)
        self.publish([EVENTS])
        for listener in self.listeners:  # the event is safe; a mirror is written anew by --resume
            retry_io(partial(listener.on_event, told), self.say)

    def _write_line(self, line: bytes) -> None:
        """Never makes the file: where it is gone, the storage is."""
        with self._path.open("r+b", buffering=0) as file:
            file.truncate(self._size)
            file.seek(self._size)
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())

    def _end_last_line(self) -> tuple[int, float]:
        """The file's size and its last event's time. New events must not be glued to a line that a
        driver died in: a whole one gets its newline, half an event is cut off."""
        content = self._path.read_bytes()
        tail, size = read_tail(content), len(content)
        if b"\n" in content and not any(map(is_event, content.split(b"\n"))):
            raise ConfigError(
                f"{self._path} holds no line that can be read: restore it from a copy (as UTF-8)"
            )
        if is_event(tail):
            with self._path.open("ab") as file:
                size += file.write(b"\n")
        elif tail and is_torn(tail):
            size -= len(tail)
            os.truncate(self._path, size)
        elif tail:
            raise ConfigError(
                f"{self._path} ends in {tail[-40:]!r}, which no driver has written: restore the "
                "file from a copy, or remove what follows its last whole line"
            )
        times = re.findall(rb'"time_s": ([0-9.]{1,20})[,}]', content[-(1 << 16) :])
        return size, max(map(float, times), default=0.0)

    def _write_details(self, trial: str, evaluation: Evaluation) -> None:
        seen = {"turns_seen": evaluation.result.turns_seen}
        dialogues = {**evaluation.dialogues, **seen}
        for name, content in zip(DETAILS, (dialogues, evaluation.responses), strict=True):
            # without an indent and a wait for the disk: these are large, and no record of them
            # is missed where a power cut takes them
            self._write_part(trial, name, json.dumps(content, allow_nan=False).encode())

    def _write_part(self, trial: str, name: str, content: bytes) -> None:
        folder = stay_inside(self.folder, f"trials/{trial}")
        folder.mkdir(exist_ok=True)
        write_whole(folder / name, content)


def replay_events(records: SweepRecords) -> Iterator[Event]:
    """The events that spell these records, in the order in which they happened."""
    trials = {t.id: t for t in records.trials}
    evals = {(t.id, e.turns_seen): e for t in records.trials for e in t.evals}
    for kind, name, turns in records.order:
        t, what = trials[name], {"event": kind, "trial": name}
        if kind == "trial":
            own = {"origin": dict(t.origin)} if t.origin else {}
            own |= {"proposal": dict(t.proposal)} if t.proposal else {}
            begun = {"number": t.number, "params": dict(t.params), "config": dict(t.config)}
            yield {**what, **begun, "time_s": t.started_s, **own}
            if t.resolved is not None:
                yield {**what, "event": "resolved", **asdict(t.resolved), "time_s": t.started_s}
        elif kind == "eval":
            yield {**what, **asdict(evals[name, turns])}
        else:
            yield {**what, "state": t.state, "reason": t.reason, "time_s": t.ended_s}
