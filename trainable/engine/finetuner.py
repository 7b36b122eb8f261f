"""A trial alone: an engine with one slot, behind the Finetuner protocol."""

from __future__ import annotations

from pathlib import Path

from trainable.engine.engine import Engine
from trainable.evaluation.validation import Generated
from trainable.model.base import BaseSpec
from trainable.storage.adapter import rank_of
from trainable.trial import Evaluation, Resolved, TrialConfig


def open_solo(config: TrialConfig, device: str) -> SoloFinetuner:
    """The trial in an engine of its own. Raises ConfigError and TrialFailed as the engine does."""
    spec = BaseSpec.of(config, device=device)
    engine = Engine(
        spec, slots=1, max_rank=rank_of(config), dialogue_tokens=config.max_length_tokens
    )
    return SoloFinetuner(engine, config)


class SoloFinetuner:
    """See the Finetuner protocol."""

    def __init__(self, engine: Engine, config: TrialConfig) -> None:
        self.engine = engine
        self.config = config
        self.resolved: Resolved = engine.join("solo", config, None)

    @property
    def turns_seen(self) -> int:
        return self.engine.turns_seen("solo")

    def train_until(self, turns: int) -> None:
        self.engine.train_until("solo", turns)

    def evaluate(
        self, n_dialogues: int | None, *, replies: bool = True, bias: float | None = None
    ) -> Evaluation:
        return self.engine.evaluate("solo", n_dialogues, "validation", replies, bias)()

    def generate(self, n_dialogues: int | None, split: str = "validation") -> Generated:
        """Replies to the first dialogues of the split's fixed order, and the loss on them."""
        return self.engine.generate("solo", n_dialogues, split)

    def save(self, folder: Path) -> None:
        self.engine.save("solo", str(folder))

    def restore(self, folder: Path) -> None:
        self.engine.leave("solo")
        self.engine.join("solo", self.config, str(folder))

    def close(self) -> None:
        self.engine.close()
