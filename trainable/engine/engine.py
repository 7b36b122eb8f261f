"""The engine: one frozen base model, and slots in which trials train and generate together.

A trial joins and leaves at any step. Its methods may be called from many threads: they queue orders
for the one thread that owns the device, and wait for it.
"""

from __future__ import annotations

import gc
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainable.engine.decode.replies import GenerationRequest
from trainable.engine.pack import Pack
from trainable.engine.slots.slot import Slot, SlotState
from trainable.evaluation.validation import Calibrated, Generated, Validation
from trainable.model.base import BaseSpec, load_base
from trainable.result import Resolved, TrainerState
from trainable.system.activity import forget, tell
from trainable.system.shortage import describe_shortage
from trainable.training_curve import TrainingCurve
from trainable.trial import TrialConfig, TrialFailed

CHECK_EVERY = 16  # passes between looks at which slots have broken


@dataclass
class PendingRequest:
    """Something a slot waits for: training to a goal, or generated replies."""

    key: str
    done: Future[Any]
    n_dialogues: int | None = None  # to validate on; None: all of the split
    split: str = "validation"
    replies: bool = True
    bias: float | None = None

    def is_like(self, other: PendingRequest) -> bool:
        """Whether both are for the same kind of validation."""
        one, two = ((w.split, w.replies, w.bias) for w in (self, other))
        return one == two


class Engine:
    """See EngineProtocol. `max_rank` and `slots` fix the bank's memory; `pass_tokens` is what the
    training slots together bring to one pass (None: what the memory affords), `gpu_share` what part
    of the GPU's memory is this engine's, `dialogue_tokens` how long the longest dialogue is that is
    read. Raises ConfigError when the base model cannot be had, CannotPack where it is not computed
    as transformers computes it."""

    def __init__(
        self,
        spec: BaseSpec,
        *,
        slots: int,
        max_rank: int,
        pass_tokens: int | None = None,
        gpu_share: float = 1.0,
        dialogue_tokens: int = TrialConfig.max_length_tokens,
    ) -> None:
        self.pack = Pack(load_base(spec), slots, max_rank, pass_tokens, gpu_share, dialogue_tokens)
        self._orders: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._training: list[PendingRequest] = []
        self._generating: list[PendingRequest] = []
        self._n_passes = 0
        self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)
        self._thread.start()

    def join(self, key: str, config: TrialConfig, start: Path | None) -> Resolved:
        # On the calling thread: the others train on meanwhile
        self.pack.tasks.prepare(config)
        state = None if start is None else SlotState.read(start)
        return self._order(lambda: self.pack.join(key, config, state))

    def train_until(self, key: str, turns: int) -> None:
        """Waits until the trial has seen `turns` system turns. Raises TrialFailed."""
        self._order(lambda: self._want_training(key, turns)).result()

    def generate(
        self,
        key: str,
        n_dialogues: int | None,
        split: str = "validation",
        replies: bool = True,
        bias: float | None = None,
    ) -> Generated:
        """The trial's replies to the first dialogues (None: all) of a split's fixed order, and the
        loss on the corpus's own: with `replies` False the loss alone. `bias`: a placeholder_bias
        in the place of the trial's own."""
        request = PendingRequest(key, Future(), n_dialogues, split, replies, bias)
        self._order(lambda: self._generating.append(request))
        return request.done.result()

    def evaluate(
        self, key: str, n_dialogues: int | None, *, replies: bool = True, bias: float | None = None
    ) -> Validation:
        """Not scored here: eight trials that score beside the device's thread take ten times as
        long, and hold it up."""
        generated = self.generate(key, n_dialogues, replies=replies)
        if bias is None or not replies:
            return Validation(generated=generated)
        biased = self.generate(key, n_dialogues, bias=bias)
        return Validation(generated=generated, calibrated=Calibrated.of(biased, bias))

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

    def _order(self, work: Callable[[], Any]) -> Any:
        done: Future[Any] = Future()
        self._orders.put((work, done))
        return done.result()

    def _want_training(self, key: str, turns: int) -> Future[None]:
        request = PendingRequest(key, Future())
        self.pack.aim(key, turns)
        self._training.append(request)
        return request.done

    def _copy_curve(self, key: str) -> TrainingCurve:
        curve = self.pack.slots[key].curve if key in self.pack.slots else TrainingCurve()
        return TrainingCurve(curve.points, curve.stride)

    def _leave(self, key: str) -> None:
        forget(key)
        self._fail(key, TrialFailed("the trial left its slot while it was at work"))
        self.pack.leave(key)

    # What follows runs on the engine's own thread.

    def _serve(self) -> None:
        while True:
            try:
                is_open = self._take_orders()
                if not is_open:
                    break
                self._work()
            except Exception as error:  # the engine's own fault: every trial hears of it
                for request in [*self._training, *self._generating]:
                    self._fail(request.key, error)
        for request in [*self._training, *self._generating]:
            self._fail(request.key, TrialFailed("the engine was closed"))
        del self.pack
        gc.collect()  # fused methods hold the model that they are part of

    def _take_orders(self) -> bool:
        """Carries out what was asked; waits for it when there is nothing else to do. False: the
        engine is to end."""
        while True:
            is_idle = not self._training and not self._generating
            try:
                order = self._orders.get(block=is_idle)
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

    def _work(self) -> None:
        self._report_goals()
        if self._generating and self._should_generate():
            self._generate_within_memory()
        elif self._training:
            self._train_within_memory()

    def _train_within_memory(self) -> None:
        """A pass; smaller ones from now on where the memory is short, and where a trial alone is
        too large, the end of that trial."""
        try:
            self._train()
            return
        except torch.OutOfMemoryError as error:
            shortage = TrialFailed(describe_shortage(error))
        if not self.pack.shrink_passes():
            self._fail(self.pack.at_work[-1], shortage)
            self.pack.pass_tokens = self.pack.afforded_tokens

    def _generate_within_memory(self) -> None:
        """The same with replies: where even one at a time is too much, whoever asked last fails."""
        try:
            self._generate()
            return
        except torch.OutOfMemoryError as error:
            shortage = TrialFailed(describe_shortage(error))
        if not self.pack.shrink_cache():
            self._fail(self._generating[-1].key, shortage)
            self.pack.cache_cut = 1

    def _train(self) -> None:
        slots = [self.pack.slots[request.key] for request in self._training]
        self.pack.train_pass(slots)
        for slot in slots:
            tell("training", slot.turns_seen, slot.goal_turns, key=slot.key)
        self._n_passes += 1
        if self._n_passes % CHECK_EVERY == 0:
            self._fail_broken()

    def _should_generate(self) -> bool:
        """Replies are worth waiting for company: slots that are about to be due are let come. A
        loss alone is measured at once."""
        if not all(request.replies for request in self._generating):
            return True
        return len(self._generating) >= len(self._training)

    def _report_goals(self) -> None:
        reached = [w for w in self._training if not self.pack.slots[w.key].is_training]
        if not reached:
            return
        self._fail_broken()
        for request in reached:
            if request in self._training:
                self._training.remove(request)
                request.done.set_result(None)

    def _fail_broken(self) -> None:
        for slot in self.pack.broken_slots():
            rate = slot.config.learning_rate
            self._fail(
                slot.key,
                TrialFailed(
                    f"the loss or its gradient is not finite after {slot.turns_seen} turns "
                    f"(learning_rate={rate})"
                ),
            )

    def _generate(self) -> None:
        self._fail_broken()  # by then the device has trained
        due = {
            request.key: request for request in sorted(self._generating, key=lambda w: w.replies)
        }
        chosen = [w for w in due.values() if w.is_like(next(iter(due.values())))]
        started_s = time.perf_counter()
        made = self.pack.generate(
            [
                GenerationRequest(self.pack.slots[w.key], w.split, w.n_dialogues, w.replies, w.bias)
                for w in chosen
            ]
        )
        share_s = (time.perf_counter() - started_s) / len(chosen)
        for request in chosen:
            responses, losses = made[request.key]
            self._generating.remove(request)
            slot = self.pack.slots[request.key]
            request.done.set_result(
                Generated(
                    corpus=slot.config.corpus,
                    response=slot.config.response,
                    split=request.split,
                    n_dialogues=request.n_dialogues,
                    responses=responses,
                    losses=losses,
                    state=TrainerState.of(
                        turns_seen=slot.turns_seen,
                        steps=slot.steps,
                        train_s=slot.train_s,
                        tokens_seen=slot.tokens_seen,
                        peak_gib=self.pack.peak_gib(),
                    ),
                    generate_s=share_s,
                )
            )

    def _fail(self, key: str, error: Exception) -> None:
        for requests in (self._training, self._generating):
            for request in [w for w in requests if w.key == key]:
                requests.remove(request)
                request.done.set_exception(error)
        slot: Slot | None = self.pack.slots.get(key)
        if slot is not None:
            slot.abandon()
