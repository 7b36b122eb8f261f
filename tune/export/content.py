"""All that a model card tells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune.export.choice import Choice
from tune.export.metrics import Data, Scored
from tune.export.snippets import Example


@dataclass(frozen=True, kw_only=True)
class Export:
    """A trial as it goes out."""

    choice: Choice
    where: str  # the repository, or the folder's own name
    base: str | None  # the base's hub id; None: it has none
    is_merged: bool  # the whole model goes out, not the adapter
    has_weights: bool  # as transformers reads them: all but GGUF files alone
    gguf: Sequence[str]  # kinds of GGUF files
    adapter_fields: Mapping[str, Any]  # adapter_config.json; empty where the model is whole
    record: Mapping[str, Any]  # trial.json
    scores: Sequence[Scored]
    data: Data
    licence: str | None  # of the base model
    dtype: str  # float32 | bfloat16 | float16: what the trial computed in
    prefix_ids: tuple[int, ...]
    silent_ids: tuple[int, ...]
    example: Example

    @property
    def title(self) -> str:
        """The task and the model."""
        model = str(self.base or self.record["config"]["base_model"]).rpartition("/")[2]
        kind = "with its LoRA adapter merged in," if self.is_merged else "a LoRA adapter"
        return f"{model} for task-oriented dialogue, {kind} trained on {self.data.name}"
