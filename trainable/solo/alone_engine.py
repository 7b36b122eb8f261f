"""An engine over trials that run by transformers themselves, one at a time: for a base model that
the packed engine does not compute exactly."""

from __future__ import annotations

import threading
from pathlib import Path

from trainable.evaluation.validation import Validation
from trainable.result import Resolved, ValidationRequest
from trainable.solo.choose import open_plain
from trainable.solo.train import PlainFinetuner
from trainable.training_curve import TrainingCurve
from trainable.trial import TrialConfig, TrialFailed


class AloneEngine:
    """See EngineProtocol. Each trial has its own copy of the base model."""

    def __init__(self, slots: int, device: str = "auto") -> None:
        self.slots, self.device = slots, device
        self._trials: dict[str, PlainFinetuner] = {}
        self._at_work = threading.Lock()

    def join(self, key: str, config: TrialConfig, start: Path | None) -> Resolved:
        with self._at_work:
            if len(self._trials) >= self.slots:
                raise TrialFailed(f"all {self.slots} slots of the engine are taken")
            trial = self._trials[key] = open_plain(config, self.device, start)
        return trial.resolved

    def turns_seen(self, key: str) -> int:
        return self._trials[key].turns_seen

    def train_until(self, key: str, turns: int) -> None:
        with self._at_work:
            self._trials[key].train_until(turns)

    def evaluate(self, key: str, asked: ValidationRequest) -> Validation:
        with self._at_work:
            return self._trials[key].validate(asked)

    def save(self, key: str, folder: Path) -> None:
        with self._at_work:
            self._trials[key].save(folder)

    def curve(self, key: str) -> TrainingCurve:
        return self._trials[key].curve if key in self._trials else TrainingCurve()

    def leave(self, key: str) -> None:
        with self._at_work:
            trial = self._trials.pop(key, None)
            if trial is not None:
                trial.close()

    def close(self) -> None:
        for key in list(self._trials):
            self.leave(key)
