"""An engine over trials that share nothing: the toy's formulas, or models of transformers itself
where the packed engine does not compute a base model exactly."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from trainable.finetuner import Finetuner, Unscored
from trainable.result import Resolved, ValidationRequest
from trainable.training_curve import TrainingCurve
from trainable.trial import TrialConfig, TrialFailed


class Unpacked(Finetuner, Protocol):
    def validate(self, asked: ValidationRequest) -> Unscored:
        """`evaluate`, not scored yet."""


class UnpackedEngine:
    """See EngineProtocol. `open_trial` makes one from its key, config and checkpoint; `at_work` is
    held while one works, where they share a device."""

    measured = None

    def __init__(
        self,
        slots: int,
        open_trial: Callable[[str, TrialConfig, Path | None], Unpacked],
        at_work: AbstractContextManager[object],
    ) -> None:
        self.slots, self.open_trial, self.at_work = slots, open_trial, at_work
        self._trials: dict[str, Unpacked] = {}

    def join(self, key: str, config: TrialConfig, start: Path | None) -> Resolved:
        with self.at_work:
            if len(self._trials) >= self.slots:
                raise TrialFailed(f"all {self.slots} slots of the engine are taken")
            trial = self._trials[key] = self.open_trial(key, config, start)
        return trial.resolved

    def turns_seen(self, key: str) -> int:
        return self._trials[key].turns_seen

    def train_until(self, key: str, turns: int) -> None:
        with self.at_work:
            self._trials[key].train_until(turns)

    def evaluate(self, key: str, asked: ValidationRequest) -> Unscored:
        with self.at_work:
            return self._trials[key].validate(asked)

    def save(self, key: str, folder: Path) -> None:
        with self.at_work:
            self._trials[key].save(folder)

    def curve(self, key: str) -> TrainingCurve:
        return self._trials[key].curve if key in self._trials else TrainingCurve()

    def leave(self, key: str) -> None:
        with self.at_work:
            trial = self._trials.pop(key, None)
            if trial is not None:
                trial.close()

    def close(self) -> None:
        for key in list(self._trials):
            self.leave(key)


def open_toy_engine(slots: int) -> UnpackedEngine:
    """Trials of the toy model, whose results are computed and not trained."""
    from trainable.solo.toy import ToyFinetuner

    return UnpackedEngine(
        slots, lambda key, config, start: ToyFinetuner(config, start, key), nullcontext()
    )


def open_plain_engine(slots: int, device: str = "auto") -> UnpackedEngine:
    """Each trial has its own copy of the base model; one works at a time."""
    from trainable.solo.choose import open_plain

    return UnpackedEngine(
        slots, lambda _, config, start: open_plain(config, device, start), threading.Lock()
    )
