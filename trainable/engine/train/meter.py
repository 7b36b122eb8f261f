"""What training passes measure on the device, kept there until the host waits for it anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from trainable.engine.slots.optimizer import StepSettings
from trainable.engine.slots.slot import Slot
from trainable.system.gpu import recall_gpu
from trainable.training_curve import TrainingPoint


@dataclass(frozen=True)
class Stand:
    """Where a pass has taken one of its slots."""

    slot: Slot
    begins: bool  # with the first piece of a step
    completes: bool
    turns_seen: int
    steps: int
    tokens_seen: int
    train_s: float
    learning_rate: float

    @classmethod
    def of(cls, slot: Slot, settings: StepSettings) -> Stand:
        place = (slot.turns_seen, slot.steps, slot.tokens_seen, slot.train_s)
        return cls(slot, slot.is_beginning, settings.steps, *place, settings.learning_rate)


class Meter:
    """Losses and gradient norms of passes on their way to the slots' curves. A copy from the device
    for every pass would hold it up: they are read together."""

    def __init__(self) -> None:
        self._measured: list[Tensor] = []  # of each pass: losses [slots], norms [slots] if any
        self._stands: list[tuple[Stand, ...]] = []

    def keep(
        self,
        slots: Sequence[Slot],
        settings: Sequence[StepSettings],
        nats: Tensor,
        norms: Tensor | None,
    ) -> None:
        """A pass whose slots have advanced: the pieces' parts of their steps' losses, and the
        gradients' norms [slots] each; None: no slot has stepped."""
        self._measured += [nats, torch.zeros_like(nats) if norms is None else norms]
        self._stands.append(tuple(map(Stand.of, slots, settings)))

    def read(self) -> None:
        """Waits for the device, and continues the slots' curves."""
        if not self._measured:
            return
        numbers = iter(torch.cat(self._measured).tolist())
        waiting, self._measured, self._stands = self._stands, [], []
        for stands in waiting:
            n_slots = len(stands)
            nats, norms = list(islice(numbers, n_slots)), list(islice(numbers, n_slots))
            for stand, loss, norm in zip(stands, nats, norms, strict=True):
                enter(stand, loss, norm)


def enter(stand: Stand, nats: float, norm: float) -> None:
    slot = stand.slot
    slot.step_nats = nats if stand.begins else slot.step_nats + nats
    if stand.completes:
        slot.curve.add(
            TrainingPoint(
                turns_seen=stand.turns_seen,
                steps=stand.steps,
                loss_nats=slot.step_nats,
                learning_rate=stand.learning_rate,
                gradient_norm=norm,
                tokens_seen=stand.tokens_seen,
                train_s=stand.train_s,
                **recall_gpu(),
            )
        )
