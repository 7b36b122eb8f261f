"""The verbs of an engine over toy finetuners, so that packing and its faults can be tried without
a model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from trainable.solo.toy import ToyFinetuner
from trainable.trial import Evaluation, Resolved, TrialConfig


class ToyEngine:
    """See `trainable.engine.engine.Engine`. Thread-safe: slots only share the count of them."""

    def __init__(self, slots: int, max_rank: int) -> None:
        self.slots, self.max_rank = slots, max_rank
        self._trials: dict[str, ToyFinetuner] = {}
        self._lock = threading.Lock()

    def join(self, key: str, config: TrialConfig, checkpoint: str | None) -> Resolved:
        trial = ToyFinetuner(config, key)
        if checkpoint is not None:
            trial.restore(Path(checkpoint))
        with self._lock:
            if len(self._trials) >= self.slots:
                raise RuntimeError(f"all {self.slots} slots are taken")
            self._trials[key] = trial
        return trial.resolved

    def train_until(self, key: str, turns: int) -> None:
        self._trials[key].train_until(turns)

    def evaluate(
        self,
        key: str,
        n_dialogues: int | None,
        split: str = "validation",
        replies: bool = True,
        bias: float | None = None,
    ) -> Callable[[], Evaluation]:
        evaluation = self._trials[key].evaluate(n_dialogues, replies=replies, bias=bias)
        return lambda: evaluation

    def save(self, key: str, folder: str) -> None:
        self._trials[key].save(Path(folder))

    def turns_seen(self, key: str) -> int:
        return self._trials[key].turns_seen

    def leave(self, key: str) -> None:
        with self._lock:
            trial = self._trials.pop(key, None)
        if trial is not None:
            trial.close()
