"""What an engine's slots wait for, and the passes that get them there."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import torch

from trainable.engine.decode.replies import Generation
from trainable.engine.pack import Pack
from trainable.engine.slots.loss_scale import not_finite
from trainable.evaluation.validation import Generated
from trainable.result import TrainerState, ValidationRequest
from trainable.system.activity import tell
from trainable.system.shortage import describe_shortage
from trainable.trial import TrialFailed

CHECK_EVERY = 16  # passes between looks at which slots have broken


@dataclass
class PendingRequest:
    """What a slot waits for: the training to its goal."""

    key: str
    done: Future[Any]


@dataclass
class PendingValidation(PendingRequest):
    """Or generated replies, or a loss."""

    asked: ValidationRequest

    def is_like(self, other: PendingValidation) -> bool:
        """Whether both are for the same kind of validation."""
        one, two = (w.asked._replace(n_dialogues=None) for w in (self, other))
        return one == two


class PendingWork:
    """The requests of a pack's slots. Not thread-safe: the engine's thread owns it."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.training: list[PendingRequest] = []
        self.generating: list[PendingValidation] = []
        self._n_passes = 0

    @property
    def is_empty(self) -> bool:
        return not self.training and not self.generating

    def want_training(self, key: str, turns: int) -> Future[None]:
        """Done once the slot has seen so many turns."""
        request = PendingRequest(key, Future())
        self.pack.aim(key, turns)
        self.training.append(request)
        return request.done

    def work(self) -> None:
        """One pass, of training or of replies, and the answers that it makes possible."""
        self._report_goals()
        if self.generating and self._should_generate():
            self._generate_within_memory()
        elif self.training:
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
            self.fail(self.pack.at_work[-1], shortage)
            self.pack.restore_passes()

    def _generate_within_memory(self) -> None:
        """The same with replies: where even one at a time is too much, whoever asked last fails."""
        try:
            self._generate()
            return
        except torch.OutOfMemoryError as error:
            shortage = TrialFailed(describe_shortage(error))
        if not self.pack.shrink_cache():
            self.fail(self.generating[-1].key, shortage)
            self.pack.memory.restore_cache()

    def _train(self) -> None:
        slots = [self.pack.slots[request.key] for request in self.training]
        self.pack.train_pass(slots)
        for slot in slots:
            tell("training", slot.turns_seen, slot.goal_turns, key=slot.key, curve=slot.curve)
        self._n_passes += 1
        if self._n_passes % CHECK_EVERY == 0:
            self._fail_broken()

    def _should_generate(self) -> bool:
        """Replies of several slots are decoded together: not before as many wait as still train. A
        loss alone is measured at once."""
        if not all(request.asked.replies for request in self.generating):
            return True
        return len(self.generating) >= len(self.training)

    def _report_goals(self) -> None:
        reached = [w for w in self.training if not self.pack.slots[w.key].is_training]
        if not reached:
            return
        self._fail_broken()
        for request in reached:
            if request in self.training:
                self.training.remove(request)
                request.done.set_result(None)

    def _fail_broken(self) -> None:
        for slot in self.pack.broken_slots():
            self.fail(slot.key, not_finite(slot.turns_seen, slot.config.learning_rate))

    def _generate(self) -> None:
        self._fail_broken()  # by then the device has trained
        in_order = sorted(self.generating, key=lambda w: w.asked.replies)
        due = {request.key: request for request in in_order}
        chosen = [w for w in due.values() if w.is_like(next(iter(due.values())))]
        started_s = time.perf_counter()
        made = self.pack.generate([(self.pack.slots[w.key], w.asked) for w in chosen])
        share_s = (time.perf_counter() - started_s) / len(chosen)
        for request in chosen:
            self.generating.remove(request)
            request.done.set_result(self._describe(request, made[request.key], share_s))

    def _describe(
        self, request: PendingValidation, made: Generation, generate_s: float
    ) -> Generated:
        slot = self.pack.slots[request.key]
        return Generated(
            corpus=slot.config.corpus,
            response=slot.config.response,
            asked=request.asked,
            responses=made.responses,
            losses=made.losses,
            state=TrainerState.of(
                turns_seen=slot.turns_seen,
                steps=slot.steps,
                train_s=slot.train_s,
                recording_s=slot.recording_s,
                tokens_seen=slot.tokens_seen,
                peak_gib=self.pack.peak_gib(),
            ),
            generate_s=generate_s,
        )

    def fail(self, key: str, error: Exception) -> None:
        failed = [w for w in (*self.training, *self.generating) if w.key == key]
        self.training = [w for w in self.training if w.key != key]
        self.generating = [w for w in self.generating if w.key != key]
        for request in failed:
            request.done.set_exception(error)
        if key in self.pack.slots:
            self.pack.slots[key].abandon()

    def fail_all(self, error: Exception) -> None:
        for request in [*self.training, *self.generating]:
            self.fail(request.key, error)
