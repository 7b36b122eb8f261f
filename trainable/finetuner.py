"""The two contracts that every way of running a trial keeps: what a trial offers to its worker
(Finetuner), and what an engine offers to the trials in its slots (EngineProtocol).

Standard library only. An engine may be in this process or in another: a trial in its slot does not
know (SlotFinetuner).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trainable.result import Evaluation, Resolved, ValidationRequest
from trainable.training_curve import TrainingCurve
from trainable.trial import TrialConfig


class Finetuner(Protocol):
    """One trial in the making, wherever it runs: alone, in a slot of an engine, or a formula. Those
    who construct one take `start`, a folder that `save` wrote, to go on from there bit for bit."""

    resolved: Resolved

    @property
    def turns_seen(self) -> int: ...

    @property
    def curve(self) -> TrainingCurve:
        """Its training so far, by optimizer steps; empty where it is not there any more."""

    def train_until(self, turns: int) -> None:
        """Trains to the first step border at or after `turns`. Raises TrialFailed."""

    def evaluate(self, asked: ValidationRequest) -> Evaluation:
        """Generates and scores replies to the dialogues asked for; without `replies` measures the
        loss alone. With a `bias` they are decoded once more under that placeholder_bias, and scored
        beside the result."""

    def save(self, folder: Path) -> None:
        """Everything needed to go on bit for bit, in `folder`; the adapter in peft's format."""

    def close(self) -> None:
        """Gives back memory or the slot."""


class Unscored(Protocol):
    """What an engine made of a validation: scored in whatever process has a core to spare."""

    def score(self) -> Evaluation: ...


@dataclass(frozen=True, kw_only=True)
class BestSlots:
    """How many trials an engine holds best, as it has measured."""

    slots: int
    tokens_per_s: Mapping[int, float]  # slots -> tokens read a second, all slots together
    fitting: int  # slots that the memory takes

    def describe(self) -> str:
        rates = ", ".join(f"{n}: {rate:,.0f}" for n, rate in self.tokens_per_s.items())
        return f"measured tokens/s by slots {rates}; memory for {self.fitting}"


class EngineProtocol(Protocol):
    """Trials in the slots of one frozen base model, each known by a key. Every method may be called
    from many threads, and returns once it is carried out."""

    @property
    def measured(self) -> BestSlots | None:
        """By what its number of slots was chosen; None: it was asked for."""

    def join(self, key: str, config: TrialConfig, start: Path | None) -> Resolved:
        """Puts a trial into a free slot, fresh or from what `save` wrote. Raises TrialFailed when
        it does not fit this engine, ConfigError when its config does not fit the model."""

    def turns_seen(self, key: str) -> int: ...

    def curve(self, key: str) -> TrainingCurve:
        """See `Finetuner.curve`."""

    def train_until(self, key: str, turns: int) -> None:
        """See `Finetuner.train_until`."""

    def evaluate(self, key: str, asked: ValidationRequest) -> Unscored:
        """See `Finetuner.evaluate`."""

    def save(self, key: str, folder: Path) -> None:
        """See `Finetuner.save`."""

    def leave(self, key: str) -> None:
        """Frees the slot; a trial that is not there is no error."""

    def close(self) -> None:
        """Ends the engine and frees its memory."""


class SlotFinetuner:
    """A trial in a slot of an engine, as a Finetuner."""

    def __init__(
        self, engine: EngineProtocol, key: str, config: TrialConfig, start: Path | None = None
    ) -> None:
        self.engine, self.key = engine, key
        self.resolved: Resolved = engine.join(key, config, start)

    @property
    def turns_seen(self) -> int:
        return self.engine.turns_seen(self.key)

    @property
    def curve(self) -> TrainingCurve:
        return self.engine.curve(self.key)

    def train_until(self, turns: int) -> None:
        self.engine.train_until(self.key, turns)

    def evaluate(self, asked: ValidationRequest) -> Evaluation:
        return self.engine.evaluate(self.key, asked).score()

    def save(self, folder: Path) -> None:
        self.engine.save(self.key, folder)

    def close(self) -> None:
        self.engine.leave(self.key)
