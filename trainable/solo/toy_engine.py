"""An engine over toy finetuners, so that packing and its faults can be tried without a model."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from trainable.result import Evaluation, Resolved, ValidationRequest
from trainable.solo.toy import ToyFinetuner
from trainable.training_curve import TrainingCurve
from trainable.trial import TrialConfig


@dataclass(frozen=True)
class ScoredEvaluation:
    """A formula's evaluation, of which nothing is left to score."""

    evaluation: Evaluation

    def score(self) -> Evaluation:
        return self.evaluation


class ToyEngine:
    """See EngineProtocol. Slots only share the count of them."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._trials: dict[str, ToyFinetuner] = {}
        self._lock = threading.Lock()

    def join(self, key: str, config: TrialConfig, start: Path | None) -> Resolved:
        trial = ToyFinetuner(config, key, start)
        with self._lock:
            if len(self._trials) >= self.slots:
                raise RuntimeError(f"all {self.slots} slots are taken")
            self._trials[key] = trial
        return trial.resolved

    def turns_seen(self, key: str) -> int:
        return self._trials[key].turns_seen

    def train_until(self, key: str, turns: int) -> None:
        self._trials[key].train_until(turns)

    def evaluate(self, key: str, asked: ValidationRequest) -> ScoredEvaluation:
        return ScoredEvaluation(self._trials[key].evaluate(asked))

    def save(self, key: str, folder: Path) -> None:
        self._trials[key].save(folder)

    def curve(self, key: str) -> TrainingCurve:
        return self._trials[key].curve if key in self._trials else TrainingCurve()

    def leave(self, key: str) -> None:
        with self._lock:
            trial = self._trials.pop(key, None)
        if trial is not None:
            trial.close()

    def close(self) -> None:
        for key in list(self._trials):
            self.leave(key)
