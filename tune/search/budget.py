"""What a sweep may cost: hours, GPU-hours, trials without progress, trials that failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from analysis.curves import measure_gpu_hours, worked_s
from analysis.records import Ledger, TrialRecord
from trainable.system.clock import now_s
from trainable.trial import EvalResult
from tune.search.config import SweepConfig
from tune.search.search import Closing, Search
from tune.search.trials import judge

HOUR_S = 3600.0


class Budget:
    """Takes a sweep's events, those of former drivers first, and closes the search when it is
    spent. `share` is what a running trial takes of a GPU (of a machine, where there is none)."""

    def __init__(self, search: Search) -> None:
        self.search, self.config = search, search.config
        self.ledger = Ledger()
        self.share = 0.0
        self.started_s = search.recorder.now_s()
        self.failed = 0
        self.rested: set[str] = set()  # trials that ended, or paused at a rung
        self.stale = 0  # of them, since the best was beaten
        self.best: tuple[int, float] = (-1, 0.0)  # milestone, score: who trained longer leads
        self.leader = ""

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
        if event["event"] == "eval" and not trial.is_confirmation:
            self._rank(trial.id, trial.evals[-1])
            if self.config.asha == "promote":  # every rung is a pause
                self._rest(trial.id)
        elif event["event"] == "end":
            if not trial.is_confirmation:
                self._rest(trial.id)
            self.failed += event["state"] == "FAIL"

    def _rank(self, trial_id: str, result: EvalResult) -> None:
        trial = self.search.trials[trial_id]
        milestone = self.search.milestone(trial, result.turns_seen).turns
        rank = (milestone, judge(result, milestone, trial, self.config.rung_metric))
        if rank > self.best:
            self.best, self.leader, self.stale = rank, trial_id, 0

    def _rest(self, trial_id: str) -> None:
        if trial_id not in self.rested:
            self.rested.add(trial_id)
            self.stale += trial_id != self.leader

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
        if limit and self.stale >= limit:
            return Closing(
                why=f"{self.stale} trials have ended or paused since the best one was found",
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
        return sum(measure_gpu_hours(trials).values()) + self.share * under_way_s / HOUR_S


def limit_failures(config: SweepConfig) -> int:
    """How many trials may fail."""
    return config.max_failed_trials or max(5, config.trials // 4)
