"""A sweep as its events tell it so far: what the live table and `tune.status` show."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from analysis.choice import PointResult, choose_best
from analysis.curves import trained_turns, worked_s
from analysis.records import RUNNING, Ledger, TrialRecord, name_objective
from tune.terminal.heartbeats import Heartbeats


class SweepProgress:
    """`sweep` is the content of sweep.json; `slots` the number of trials that can run at once;
    `since_s` the unix time at which the driver began (None: there is none, or the first event will
    say); `now_s` tells the time that the driver writes down.

    `heartbeats` are what the sweep's processes say they are at; without any, only what is recorded
    shows."""

    def __init__(
        self,
        sweep: Mapping[str, Any],
        *,
        slots: int = 1,
        since_s: float | None = None,
        now_s: Callable[[], float] = time.time,
        ledger: Ledger | None = None,
    ) -> None:
        """`ledger`: one that somebody else keeps, who hears of every event first."""
        self.sweep = sweep
        self.slots = max(slots, 1)
        self.ledger, self.is_keeper = ledger or Ledger(), ledger is None
        self.heartbeats = Heartbeats()
        self.since_s, self.now_s = since_s, now_s
        self._trials: tuple[int, list[TrialRecord]] = (0, [])  # after so many events
        self._best: tuple[int, PointResult | None] = (0, None)  # as well

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Takes in one event."""
        if self.is_keeper:
            self.ledger.add(event)
        if self.since_s is None:
            self.since_s = float(event.get("time_s") or self.now_s())

    @property
    def trials(self) -> list[TrialRecord]:
        """The searched ones, copied: the live table reads from its own thread."""
        n_told = self.ledger.n_told
        if n_told != self._trials[0]:
            known = list(self.ledger.trials.values())
            self._trials = n_told, [t for t in known if not t.is_base]
        return self._trials[1]

    @property
    def config(self) -> Mapping[str, Any]:
        """The sweep's SweepConfig, as recorded."""
        found: Mapping[str, Any] = self.sweep.get("config") or {}
        return found

    @property
    def objective(self) -> str:
        """What trials are compared by."""
        return name_objective(self.config)

    @property
    def best(self) -> PointResult | None:
        """The leaderboard's first; sought anew only where something has happened."""
        n_told = self.ledger.n_told
        if n_told != self._best[0]:
            self._best = n_told, choose_best(self)
        return self._best[1]

    @property
    def at_work(self) -> list[TrialRecord]:
        """The open trials that some process works on, the untuned base among them."""
        known = list(self.ledger.trials.values())
        return [t for t in known if t.state == RUNNING and self.is_at_work(t)]

    @property
    def waiting(self) -> list[TrialRecord]:
        """The open trials that nobody works on: at a rung, or until a worker is free."""
        return [t for t in self.trials if t.state == RUNNING and not self.is_at_work(t)]

    def is_at_work(self, trial: TrialRecord) -> bool:
        """Of an open trial: as heartbeats tell; without any, whether it does not wait at a rung."""
        known = self.heartbeats.activities
        return trial.id in known if known else trial.id not in self.ledger.parked

    @property
    def turns(self) -> int:
        """System turns trained on, over all trials and up to now."""
        recorded = trained_turns(self.trials)
        for trial in self.at_work:
            now = self.heartbeats.activities.get(trial.id)
            if now is not None and now.what == "training":
                recorded += max(int(now.done) - (trial.last.turns_seen if trial.last else 0), 0)
        return recorded

    @property
    def worked_s(self) -> float:
        return worked_s(list(self.ledger.trials.values()), self.since_s, self.now_s())

    @property
    def wanted(self) -> int:
        """Trials that the sweep will have had: those to be proposed, and clones."""
        proposed = int(self.sweep.get("config", {}).get("trials") or 0)
        return proposed and proposed + sum(t.origin is not None for t in self.trials)

    def forecast(self, spent: float) -> float | None:
        """How much is still to be spent (seconds, hours, ...) if the trials to come cost what the
        ended ones did; None before the first end. A running trial counts by half."""
        ended = sum(t.state != RUNNING for t in self.trials)
        if not ended or not self.wanted:
            return None
        running = len(self.trials) - ended
        done = ended + running / 2
        return spent / done * max(self.wanted - done, 0.0)


def format_duration(seconds: float) -> str:
    """
    >>> format_duration(75), format_duration(4000), format_duration(9)
    ('1 min 15 s', '1 h 6 min', '9 s')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
