"""The objective that `tune.evaluate` measures replies by."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainable.dialogue.dialogue import Dialogue
from trainable.evaluation.likeness import Alike
from trainable.evaluation.objective import Objective, read_objective
from trainable.trial import ConfigError, TrialFailed
from tune.plan.task import REHEARSED, check_kinds

if TYPE_CHECKING:
    from trainable.corpus.corpus import Corpus
    from trainable.evaluation.evaluator import Scores
    from trainable.evaluation.predictions import Responses


@dataclass(frozen=True, kw_only=True)
class ReplyObjective:
    objective: Objective
    dialogues: Sequence[Dialogue]  # the split's, as replies are held against them
    more: Mapping[str, Alike]

    def measure(self, responses: Responses, scores: Scores) -> dict[str, Any]:
        """JSON-ready: name, value (None: a function failed, as stderr says), the 95 % interval over
        dialogues where there is one, and metrics measured besides. Prints the value."""
        from analysis.labels import format_score, label_objective
        from trainable.evaluation.measure import measure_replies

        name = self.objective.name
        try:
            found = measure_replies(self.objective, responses, scores, self.dialogues, self.more)
        except TrialFailed as failure:
            print(f"error: {failure}", file=sys.stderr)
            return {"name": name, "value": None, "interval": None, "metrics": {}}
        interval = scores.intervals.get(name)
        if found.counts and found.value is not None:
            interval = find_spread(name, found.counts, found.value)
        spread = f" ({interval[0]:.3g}–{interval[1]:.3g})" if interval else ""
        print(f"{label_objective(name)}: {format_score(found.value, name)}{spread}")
        metrics = dict(found.metrics)
        return {"name": name, "value": found.value, "interval": interval, "metrics": metrics}


def find_spread(name: str, counts: Mapping[str, list[float]], value: float) -> tuple[float, float]:
    """95 % over dialogues."""
    import numpy as np

    from analysis.noise import DialogueCounts, draw_values
    from trainable.evaluation.bootstrap import find_interval

    ids = tuple(sorted(counts))
    rows = np.array([counts[i] for i in ids], dtype=np.float64)
    told = DialogueCounts(turns_seen=0, ids=ids, counts=rows, objective=name)
    return find_interval(draw_values(told, value))


def open_objective(
    text: str | None,
    corpus: Corpus,
    split: str,
    response: str = "delexicalised",
    base_model: str | None = None,
) -> ReplyObjective | None:
    """What `--objective` says, tried before any reply is made. Raises ConfigError."""
    from trainable.corpus.subset import validation_subset
    from trainable.evaluation.measure import rehearse
    from trainable.evaluation.validation import to_references
    from trainable.worker.objective import open_metrics

    if text is None:
        return None
    objective = read_objective(text)
    if objective.name == "loss":
        raise ConfigError("--objective loss is not measured on replies: give bleu, rouge, ...")
    check_kinds(objective, {corpus.kind})
    if objective.name == "semantic" and not (objective.encoder or base_model):
        raise ConfigError(
            "--objective semantic asks the base model, and --predictions name none: give "
            "semantic:MODEL, of sentence-transformers"
        )
    dialogues = to_references(corpus.get_split(split), response)
    rehearse(objective, validation_subset(dialogues, REHEARSED))
    more = open_metrics(objective, base_model or "")
    return ReplyObjective(objective=objective, dialogues=dialogues, more=more)
