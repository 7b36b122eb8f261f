"""Evaluations measured by an objective: see `trainable.evaluation.objective`."""

import math
import numbers
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from types import ModuleType
from typing import Any

from trainable.dialogue.dialogue import Dialogue
from trainable.evaluation.likeness import ALIKE, Alike
from trainable.evaluation.objective import COMBINED, Objective
from trainable.evaluation.predictions import Responses
from trainable.result import Evaluation, ReplyScores
from trainable.system.user_files import search_too
from trainable.trial import ConfigError, TrialFailed

Replies = list[list[str]]  # of each dialogue, one a system turn
Counts = dict[str, list[float]]  # dialogue -> [sum, number of things summed]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Replies by an objective."""

    value: float | None  # None: replies alone do not tell it
    metrics: Mapping[str, float]  # that were measured besides, a function's own among them
    counts: Counts  # what each dialogue has to do with the value, where that is a mean


@lru_cache(maxsize=4)
def load_function(objective: Objective) -> Callable[..., Any]:
    """Runs the objective's file. Raises TrialFailed."""
    module = ModuleType("objective")
    module.__file__ = objective.file
    search_too(objective.folders)
    sys.modules.setdefault("objective", module)  # dataclasses look there
    try:
        exec(compile(objective.source, objective.file, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise TrialFailed(_blame(objective, error)) from error
    function = getattr(module, objective.name)
    if not callable(function):
        raise TrialFailed(f"objective {objective.name} of {objective.file} is no function")
    return function


def _blame(objective: Objective, error: BaseException) -> str:
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == objective.file
    ]
    where = f", line {lines[-1]}" if lines else ""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return f"objective {objective.name} raised {what[:200]} ({objective.file}{where})"


def measure(
    objective: Objective,
    evaluation: Evaluation,
    dialogues: Sequence[Dialogue],
    more: Mapping[str, Alike] | None = None,
) -> Evaluation:
    """The evaluation with its objective's value, and what each dialogue has to do with it.
    `dialogues`: those evaluated, whose `delexicalised` is what replies are held against; `more`:
    metrics of a reply and its reference besides ours. Raises TrialFailed where a function does not
    do as it should."""
    if objective == COMBINED:
        return evaluation
    result, responses = evaluation.result, evaluation.responses
    measured = Measured(value=None, metrics={}, counts={})
    if responses:
        measured = measure_replies(objective, responses, result, dialogues, more)
    value, counts = measured.value, measured.counts
    if objective.name == "loss":
        value = result.nats_per_word
        counts = {n: row["loss"] for n, row in evaluation.dialogues.items() if "loss" in row}
    told = {"name": objective.name, "direction": objective.direction, "value": value}
    return replace(
        evaluation,
        result=replace(result, objective=told, metrics=dict(measured.metrics) or None),
        dialogues={
            name: {**row, **({"objective": counts[name]} if name in counts else {})}
            for name, row in evaluation.dialogues.items()
        },
    )


def measure_replies(
    objective: Objective,
    responses: Responses,
    scored: ReplyScores,
    dialogues: Sequence[Dialogue],
    more: Mapping[str, Alike] | None = None,
) -> Measured:
    """See `measure`."""
    known = [d for d in dialogues if d.id in responses]
    replies = [[turn["response"] for turn in responses[d.id]] for d in known]
    metrics, counts = compare(known, replies, {**ALIKE, **(more or {})})
    own = {"bleu": scored.bleu, "slots": (scored.placeholders or {}).get("f1")}
    metrics = {**{name: value for name, value in own.items() if value is not None}, **metrics}
    if objective.is_python:
        returned, scores = call(objective, known, replies)
        return Measured(
            value=next(iter(returned.values())),
            metrics={**metrics, **returned},
            counts={name: [score, 1.0] for name, score in scores.items()},
        )
    value = scored.combined if objective == COMBINED else metrics.get(objective.name)
    return Measured(value=value, metrics=metrics, counts=counts.get(objective.name, {}))


def compare(
    dialogues: Sequence[Dialogue], replies: Replies, metrics: Mapping[str, Alike]
) -> tuple[dict[str, float], dict[str, Counts]]:
    """(metric -> value in 0..100, metric -> its counts) of replies beside the references."""
    references = [turn.delexicalised for dialogue in dialogues for turn in dialogue.turns]
    flat = [reply for said in replies for reply in said]
    values: dict[str, float] = {}
    counts: dict[str, Counts] = {}
    for name, alike in metrics.items():
        scores = list(map(float, alike(flat, references)))
        values[name] = 100 * sum(scores) / len(scores)
        rest = iter(scores)
        counts[name] = {
            dialogue.id: [sum(islice(rest, len(said))), float(len(said))]
            for dialogue, said in zip(dialogues, replies, strict=True)
        }
    return values, counts


def call(
    objective: Objective, dialogues: Sequence[Dialogue], replies: Replies
) -> tuple[dict[str, float], dict[str, float]]:
    """(metric -> value, the objective first; dialogue id -> score). Raises TrialFailed."""
    function = load_function(objective)
    try:
        returned = function(list(dialogues), [list(said) for said in replies])
    except (Exception, SystemExit) as error:
        raise TrialFailed(_blame(objective, error)) from error
    if not isinstance(returned, Mapping):
        return {objective.name: _check(objective, "", returned)}, {}
    scores = returned.get("dialogues") or {}
    metrics = {str(k): v for k, v in returned.items() if k != "dialogues"}
    if not metrics or not isinstance(scores, Mapping):
        raise TrialFailed(
            f"objective {objective.name} must return a number or a mapping of metrics, with a "
            f"mapping from dialogue ids to scores under 'dialogues' ({objective.file})"
        )
    known = {dialogue.id for dialogue in dialogues}
    if unknown := [name for name in scores if name not in known]:
        raise TrialFailed(
            f"objective {objective.name} scored a dialogue that there is not: {unknown[0]!r:.60}"
        )
    return (
        {name: _check(objective, name, value) for name, value in metrics.items()},
        {str(name): _check(objective, str(name), value) for name, value in scores.items()},
    )


def _check(objective: Objective, name: str, value: Any) -> float:
    what = f"objective {objective.name}{f' ({name})' if name else ''}"
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TrialFailed(f"{what} must be a number, not {value!r:.60} ({objective.file})")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise TrialFailed(f"{what} is {number} ({objective.file})")
    return number


def rehearse(objective: Objective, dialogues: Sequence[Dialogue]) -> None:
    """Calls a function once with the references as replies, before anything starts. Raises
    ConfigError."""
    if not objective.is_python:
        return
    try:
        call(objective, dialogues, [[t.delexicalised for t in d.turns] for d in dialogues])
    except TrialFailed as failure:
        raise ConfigError(f"--objective, tried on the corpus's own replies: {failure}") from failure
