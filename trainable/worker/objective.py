"""A trial's evaluation measured by the sweep's objective, in the worker."""

from __future__ import annotations

from trainable.corpus.load import load_corpus
from trainable.corpus.subset import validation_subset
from trainable.dialogue.dialogue import Dialogue, Turn
from trainable.evaluation.likeness import Alike
from trainable.evaluation.measure import measure
from trainable.evaluation.objective import COMBINED, Objective
from trainable.evaluation.validation import to_references
from trainable.model.packable import is_toy
from trainable.result import Evaluation
from trainable.trial import TrialConfig


def apply_objective(
    objective: Objective, evaluation: Evaluation, config: TrialConfig, n_dialogues: int | None
) -> Evaluation:
    """Of the first dialogues (None: all) of its split. Raises TrialFailed."""
    if objective == COMBINED:
        return evaluation
    more = open_metrics(objective, config.base_model)
    if is_toy(config):
        return measure(objective, evaluation, make_toy_dialogues(evaluation), more)
    split = evaluation.result.split
    dialogues = validation_subset(load_corpus(config.corpus).get_split(split), n_dialogues)
    return measure(objective, evaluation, to_references(dialogues, config.response), more)


def open_metrics(objective: Objective, base_model: str) -> dict[str, Alike]:
    """What the objective asks of models, by its name. Raises ConfigError."""
    if objective.name != "semantic":
        return {}
    # torch, which a toy's worker needs not load
    from trainable.model.likeness import open_likeness, open_sentences

    encoder = objective.encoder
    return {objective.name: open_sentences(encoder) if encoder else open_likeness(base_model)}


def make_toy_dialogues(evaluation: Evaluation) -> tuple[Dialogue, ...]:
    """Dialogues for the toy's replies, which answer none."""
    turn = Turn(user="", response="", delexicalised="", state={}, booked=())
    return tuple(
        Dialogue(id=name, turns=(turn,) * len(said), goal={})
        for name, said in evaluation.responses.items()
    )
