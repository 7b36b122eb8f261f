"""The engine: one frozen base model, and slots in which trials train and generate together.

A trial joins and leaves at any step. Its methods may be called from many threads: they queue orders
for the one thread that owns the device, and wait for it.
"""

from __future__ import annotations

import gc
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch

from trainable.engine.best_slots import ENGINE, find_best_slots
from trainable.engine.pack import Pack
from trainable.engine.pending import PendingValidation, PendingWork
from trainable.engine.slots.slot import SlotState
from trainable.evaluation.validation import Generated, Validation, validate
from trainable.finetuner import BestSlots
from trainable.model.base import BaseSpec, load_base
from trainable.result import Resolved, ValidationRequest
from trainable.system.activity import forget, tell
from trainable.system.shortage import describe_shortage
from trainable.training_curve import TrainingCurve
from trainable.trial import DEFAULTS, TrialConfig, TrialFailed


class Engine:
    """See EngineProtocol. `max_rank` and `slots` fix the bank's memory (a trial in the place of a
    number: as many as serve its like best, found out within a minute); `pass_tokens` is what the
    training slots together bring to one pass (None: what the memory affords), `gpu_share` what part
    of the GPU's memory is this engine's, `dialogue_tokens` how long the longest dialogue is that is
    read. Raises ConfigError when the base model cannot be had, CannotPack where it is not computed
    as transformers computes it."""

    def __init__(
        self,
        spec: BaseSpec,
        *,
        slots: int | TrialConfig,
        max_rank: int,
        pass_tokens: int | None = None,
        gpu_share: float = 1.0,
        dialogue_tokens: int = DEFAULTS["max_length_tokens"],
    ) -> None:
        base = load_base(spec)
        tell("readying it", key=ENGINE)
        number = slots if isinstance(slots, int) else None
        self.pack = Pack(base, number, max_rank, pass_tokens, gpu_share, dialogue_tokens)
        self.measured: BestSlots | None = None
        self._orders: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._pending = PendingWork(self.pack)
        self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)
        self._thread.start()
        if isinstance(slots, TrialConfig):
            self.measured = self._measure(slots)
        forget(ENGINE)

    def join(self, key: str, config: TrialConfig, start: Path | None) -> Resolved:
        # On the calling thread: the others train on meanwhile
        self.pack.tasks.prepare(config)
        state = None if start is None else SlotState.read(start)
        return self._order(lambda: self.pack.join(key, config, state))

    def train_until(self, key: str, turns: int) -> None:
        """Waits until the trial has seen `turns` system turns. Raises TrialFailed."""
        self._order(lambda: self._pending.want_training(key, turns)).result()

    def generate(self, key: str, asked: ValidationRequest) -> Generated:
        """The trial's replies to the dialogues asked for, and the loss on the corpus's own: with
        `replies` False the loss alone. `bias`: a placeholder_bias instead of the trial's own."""
        request = PendingValidation(key, Future(), asked)
        self._order(lambda: self._pending.generating.append(request))
        return request.done.result()

    def evaluate(self, key: str, asked: ValidationRequest) -> Validation:
        """Not scored here: eight trials that score beside the device's thread take ten times as
        long, and hold it up."""
        return validate(lambda one: self.generate(key, one), asked)

    def save(self, key: str, folder: Path) -> None:
        """Waited for, cut up and written by the calling thread: the device works on."""
        cut_up = self._order(lambda: self.pack.copy_rows(key))
        cut_up().write(folder)

    def turns_seen(self, key: str) -> int:
        return self._order(lambda: self.pack.slots[key].turns_seen)

    def curve(self, key: str) -> TrainingCurve:
        """The trial's training, up to its last goal; empty where it has left its slot."""
        return self._order(lambda: self._copy_curve(key))

    def leave(self, key: str) -> None:
        """Whoever waits for the trial is told."""
        self._order(lambda: self._leave(key))

    def close(self) -> None:
        """Ends the engine's thread and frees the device's memory."""
        self._orders.put(None)
        self._thread.join()

    def _measure(self, trial: TrialConfig) -> BestSlots:
        """On the engine's own thread, whose passes these are; leaves that many slots, empty."""

        def choose() -> BestSlots:
            best = find_best_slots(self.pack, trial)
            self.pack.shrink(best.slots)
            return best

        try:
            measured: BestSlots = self._order(choose)
        except BaseException:
            self.close()
            raise
        return measured

    def _order(self, work: Callable[[], Any]) -> Any:
        done: Future[Any] = Future()
        self._orders.put((work, done))
        return done.result()

    def _copy_curve(self, key: str) -> TrainingCurve:
        return self.pack.slots[key].curve.copy() if key in self.pack.slots else TrainingCurve()

    def _leave(self, key: str) -> None:
        forget(key)
        self._pending.fail(key, TrialFailed("the trial left its slot while it was at work"))
        self.pack.leave(key)

    # What follows runs on the engine's own thread.

    def _serve(self) -> None:
        while True:
            try:
                is_open = self._take_orders()
                if not is_open:
                    break
                self._pending.work()
            except Exception as error:  # the engine's own fault: every trial hears of it
                self._pending.fail_all(error)
        self._pending.fail_all(TrialFailed("the engine was closed"))
        del self.pack, self._pending
        gc.collect()  # fused methods hold the model that they are part of

    def _take_orders(self) -> bool:
        """Carries out what was asked; waits for it when there is nothing else to do. False: the
        engine is to end."""
        while True:
            try:
                order = self._orders.get(block=self._pending.is_empty)
            except queue.Empty:
                return True
            if order is None:
                return False
            work, done = order
            is_short = False
            try:
                done.set_result(work())
            except torch.OutOfMemoryError as error:
                done.set_exception(TrialFailed(describe_shortage(error)))
                is_short = True
            except Exception as error:
                done.set_exception(error)
            if is_short:
                self.pack.free_memory()  # what the error held is gone by now
