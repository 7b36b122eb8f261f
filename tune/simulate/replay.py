"""What `Search` decides of points that are all known beforehand, in a hundredth of its time:
without proposals, records and faults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainable.trial import TrialConfig
from trainable.worker.lease import Lease, Report
from tune.search.config import SweepConfig
from tune.search.milestones import list_milestones
from tune.search.rungs import open_rungs
from tune.search.trials import Progress, judge, name_trial
from tune.simulate.curves import Point


class Replay:
    def __init__(self, config: SweepConfig, points: Sequence[tuple[Point, TrialConfig]]) -> None:
        """`points`: in the order in which they are tried, each as a trial's config, too."""
        self.config, self.room = config, 1
        self.searched = [Progress(name_trial(i), i, *own) for i, own in enumerate(points)]
        self.trials = {trial.id: trial for trial in self.searched}
        self.rungs = open_rungs(config.asha, config.idle, config.rungs_turns, config.eta)
        self.milestones = list_milestones(config, config.train_turns)
        self.n_opened = self.n_running = 0

    def lease(self) -> Lease | None:
        if self.n_running >= self.room or (name := self._pick()) is None:
            return None
        trial = self.trials[name]
        trial.state = "RUNNING"
        self.n_running += 1
        return Lease(
            trial=name,
            config=trial.config,
            milestones=self.milestones,
            reported_turns=trial.turns_seen,
            checkpoints=Path(),
        )

    def report(self, report: Report) -> bool:
        assert report.evaluation is not None
        trial, result = self.trials[report.trial], report.evaluation.result
        turns = max(m.turns for m in self.milestones if m.turns <= result.turns_seen)
        trial.turns_seen = result.turns_seen
        trial.scores[turns] = judge(result, turns, trial, self.config.rung_metric)
        is_at_end = turns >= self.config.train_turns
        if not is_at_end and self.rungs.report(trial.id, turns, trial.scores[turns]):
            return True
        self.n_running -= 1
        waits = self.config.asha == "promote"
        trial.state = "COMPLETE" if is_at_end else "WAITING" if waits else "PRUNED"
        return False

    def finish(self) -> None:
        for trial in self.searched:
            if trial.state == "WAITING":
                trial.state = "PRUNED"

    def _pick(self) -> str | None:
        name = self.rungs.promote() or self._open_next()
        name = name or self.rungs.promote_idle(len(self.searched))
        if name is None and not self.n_running:
            return self.rungs.promote_last()
        return name

    def _open_next(self) -> str | None:
        if self.n_opened == len(self.searched):
            return None
        self.n_opened += 1
        return self.searched[self.n_opened - 1].id
