"""A trial alone: an engine with one slot, in this process."""

from pathlib import Path

from trainable.engine.engine import Engine
from trainable.evaluation.validation import Generated
from trainable.finetuner import SlotFinetuner
from trainable.model.base import BaseSpec
from trainable.result import ValidationRequest
from trainable.storage.adapter import rank_of
from trainable.trial import TrialConfig

Kind = tuple[BaseSpec, int, int]  # with the highest rank, and the tokens of the longest dialogue
_kept: dict[Kind, Engine] = {}  # at most one, idle


class SoloFinetuner(SlotFinetuner):
    """The trial in an engine of its own. With `keeps` that is left open at the end, and serves the
    next such trial of this process over the same base model: nothing is loaded or encoded anew.
    Raises ConfigError and TrialFailed as the engine does."""

    def __init__(
        self, config: TrialConfig, device: str, start: Path | None = None, *, keeps: bool = False
    ) -> None:
        spec, rank = BaseSpec.of(config, device=device), rank_of(config)
        self.kind, self.keeps = (spec, rank, config.max_length_tokens), keeps
        self.own_engine = take_engine(self.kind)
        try:
            super().__init__(self.own_engine, "solo", config, start)
        except BaseException:
            self.own_engine.close()
            raise

    def generate(self, asked: ValidationRequest) -> Generated:
        """See `Engine.generate`."""
        return self.own_engine.generate(self.key, asked)

    def close(self) -> None:
        if not self.keeps:
            self.own_engine.close()
            return
        super().close()
        _kept[self.kind] = self.own_engine


def take_engine(kind: Kind) -> Engine:
    """The one that was kept, if it is of that kind; else it is closed, and another opened."""
    if kind in _kept:
        return _kept.pop(kind)
    while _kept:
        _kept.popitem()[1].close()
    spec, rank, tokens = kind
    return Engine(spec, slots=1, max_rank=rank, dialogue_tokens=tokens)
