"""The verbs of an engine over trials that run by transformers themselves, one at a time: what an
engine's process offers for a base model that its engine does not compute exactly."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from trainable.evaluation.validation import Generated
from trainable.solo.choose import open_plain
from trainable.solo.train import PlainFinetuner
from trainable.trial import Evaluation, Resolved, TrialConfig, TrialFailed


class AloneEngine:
    """See `trainable.engine.engine.Engine`. Each trial has its own copy of the base model."""

    def __init__(self, slots: int, device: str = "auto") -> None:
        self.slots, self.device = slots, device
        self._trials: dict[str, PlainFinetuner] = {}
        self._at_work = threading.Lock()

    def join(self, key: str, config: TrialConfig, checkpoint: str | None) -> Resolved:
        with self._at_work:
            if len(self._trials) >= self.slots:
                raise TrialFailed(f"all {self.slots} slots of the engine are taken")
            trial = open_plain(config, self.device)
            if checkpoint is not None:
                trial.restore(Path(checkpoint))
            self._trials[key] = trial
        return trial.resolved

    def train_until(self, key: str, turns: int) -> None:
        with self._at_work:
            self._trials[key].train_until(turns)

    def generate(self, key: str, n_dialogues: int, split: str = "validation") -> Generated:
        with self._at_work:
            return self._trials[key].generate(n_dialogues, split)

    def evaluate(self, key: str, n_dialogues: int) -> Callable[[], Evaluation]:
        with self._at_work:
            evaluation = self._trials[key].evaluate(n_dialogues)
        return lambda: evaluation

    def save(self, key: str, folder: str) -> None:
        with self._at_work:
            self._trials[key].save(Path(folder))

    def turns_seen(self, key: str) -> int:
        return self._trials[key].turns_seen

    def leave(self, key: str) -> None:
        with self._at_work:
            trial = self._trials.pop(key, None)
            if trial is not None:
                trial.close()

    def close(self) -> None:
        for key in list(self._trials):
            self.leave(key)
