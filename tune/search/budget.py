"""What a sweep may cost: hours, GPU-hours, points without progress, trials that failed."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from statistics import fmean
from typing import Any

from analysis.curves import count_gpu_hours, worked_s
from analysis.records import TrialRecord
from trainable.system.clock import now_s
from tune.search.config import SweepConfig
from tune.search.live_ledger import LiveLedger
from tune.search.points import Point
from tune.search.search import Search
from tune.search.table import Closing
from tune.search.trials import judge

HOUR_S = 3600.0


class Budget:
    """Takes a sweep's events, those of former drivers first, and closes the search when it is
    spent. `share` is what a running trial takes of a GPU (of a machine, where there is none)."""

    def __init__(self, search: Search) -> None:
        self.search, self.config = search, search.config
        self.ledger = LiveLedger()
        self.share = 0.0
        self.started_s = search.recorder.now_s()
        self.failed = 0
        self.ended: set[str] = set()  # trials
        self.scores: dict[int, dict[str, float]] = {}  # milestone -> trial -> score
        self.paused: set[str] = set()  # trials: where asha promotes every rung is a pause
        self.settled: set[str] = set()  # points whose seeds have all ended, or paused at a rung
        self.n_without_gain = 0  # of them, since the best was beaten
        self.best: tuple[int, float] = (-1, 0.0)  # milestone, score: who trained longer leads
        self.leader = ""  # the point

    def replay(self, events: Iterable[Mapping[str, Any]]) -> None:
        """What former drivers recorded."""
        for event in events:
            self._count(event)

    def on_event(self, event: Mapping[str, Any]) -> None:
        self._count(event)
        self._close(self._find_counts_spent())

    def look(self) -> None:
        """To be called now and then: time passes without events."""
        self._close(self._find_hours_spent() or self._find_counts_spent())

    def _count(self, event: Mapping[str, Any]) -> None:
        self.ledger.add(event)
        trial = self.ledger.trials.get(event.get("trial", ""))
        if trial is None or trial.is_base:
            return
        if event["event"] == "end":
            self.ended.add(trial.id)
            self.failed += event["state"] == "FAIL"
        point = None if trial.is_confirmation else self.search.race.points.get(trial.id)
        if point is None:
            return
        if event["event"] == "eval":
            self._hear(trial)
        if event["event"] in ("eval", "end"):
            self._rank(point)
            self._rest(point)

    def _hear(self, record: TrialRecord) -> None:
        trial, result = self.search.trials[record.id], record.evals[-1]
        milestone = self.search.milestone(trial, result.turns_seen).turns
        score = judge(result, milestone, trial, self.config.rung_metric)
        self.scores.setdefault(milestone, {})[trial.id] = score
        if self.config.asha == "promote":
            self.paused.add(trial.id)

    def _rank(self, point: Point) -> None:
        """A point counts with the mean of its seeds, once all of them have come as far."""
        names = [t.id for t in point.seeds]
        milestone = max((m for m, known in self.scores.items() if known.keys() & names), default=0)
        known = self.scores.get(milestone, {})
        own = [known[name] for name in names if name in known]
        if own and self._have_come(point, known) and (milestone, fmean(own)) > self.best:
            self.best, self.leader, self.n_without_gain = (milestone, fmean(own)), point.name, 0

    def _rest(self, point: Point) -> None:
        if point.name not in self.settled and self._have_come(point, self.paused):
            self.settled.add(point.name)
            self.n_without_gain += point.name != self.leader

    def _have_come(self, point: Point, there: Container[str]) -> bool:
        """Whether all of its seeds are there or have ended."""
        known = [t for t in point.seeds if t.id in there or t.id in self.ended]
        return len(known) >= point.size

    def _close(self, closing: Closing | None) -> None:
        self.search.closing = self.search.closing or closing

    def _find_counts_spent(self) -> Closing | None:
        limit, most = self.config.stop_if_no_improvement, limit_failures(self.config)
        if self.failed > most:
            return Closing(
                why=f"{self.failed} trials failed, and no more than {most} may",
                remedy="--max-failed-trials N",
                code=1,
            )
        if limit and self.n_without_gain >= limit:
            return Closing(
                why=f"{self.n_without_gain} points have ended or paused since the highest",
                remedy="--stop-if-no-improvement N (0: never)",
            )
        return None

    def _find_hours_spent(self) -> Closing | None:
        config = self.config
        if config.max_hours and self.hours >= config.max_hours:
            return Closing(
                why=f"{self.hours:.2f} of {config.max_hours:g} hours are spent",
                remedy="--max-hours N",
            )
        if config.max_gpu_hours and self.gpu_hours >= config.max_gpu_hours:
            return Closing(
                why=f"{self.gpu_hours:.2f} of {config.max_gpu_hours:g} GPU-hours are spent",
                remedy="--max-gpu-hours N",
            )
        return None

    @property
    def hours(self) -> float:
        """Of work, pauses between drivers left out."""
        return (
            worked_s(self.ledger.trials.values(), self.started_s, self.search.recorder.now_s())
            / HOUR_S
        )

    @property
    def gpu_hours(self) -> float:
        """As recorded, and what is under way as far as it can be told."""
        trials: list[TrialRecord] = list(self.ledger.trials.values())
        under_way_s = sum(now_s() - trial.since_s for trial in self.search.running)
        return count_gpu_hours(trials) + self.share * under_way_s / HOUR_S


def limit_failures(config: SweepConfig) -> int:
    """How many trials may fail."""
    return config.max_failed_trials or max(5, config.trials // 4)
