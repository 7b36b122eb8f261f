"""A trial alone: an engine with one slot, in this process."""

from __future__ import annotations

from pathlib import Path

from trainable.engine.engine import Engine
from trainable.evaluation.validation import Generated
from trainable.finetuner import SlotFinetuner
from trainable.model.base import BaseSpec
from trainable.storage.adapter import rank_of
from trainable.trial import TrialConfig


class SoloFinetuner(SlotFinetuner):
    """The trial in an engine of its own. Raises ConfigError and TrialFailed as the engine does."""

    def __init__(self, config: TrialConfig, device: str, start: Path | None = None) -> None:
        spec, rank = BaseSpec.of(config, device=device), rank_of(config)
        tokens = config.max_length_tokens
        self.own_engine = Engine(spec, slots=1, max_rank=rank, dialogue_tokens=tokens)
        super().__init__(self.own_engine, "solo", config, start)

    def generate(self, n_dialogues: int | None, split: str = "validation") -> Generated:
        """Replies to the first dialogues of the split's fixed order, and the loss on them."""
        return self.own_engine.generate(self.key, n_dialogues, split)

    def close(self) -> None:
        self.own_engine.close()
