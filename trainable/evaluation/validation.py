"""From generated replies to an evaluation, in whatever process has a core to spare: no torch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from trainable.corpus.load import Corpus, load_corpus
from trainable.corpus.subset import validation_subset
from trainable.dialogue.dialogue import Dialogue
from trainable.evaluation.evaluator import Evaluator, Scores
from trainable.evaluation.plain import PlainEvaluator
from trainable.trial import EvalResult, Evaluation

RATES = ("bleu", "inform", "success", "combined")


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What an engine made of some dialogues, before it is scored."""

    corpus: str
    response: str  # delexicalised | lexicalised
    split: str
    n_dialogues: int | None  # of the split's fixed order; None: all
    responses: dict[str, list[dict[str, Any]]]  # mwzeval's format; empty: only the loss was asked
    loss_nats: float  # see `trainable.corpus.losses.Losses`
    nats_per_word: float | None = None
    nats_per_placeholder: float | None = None
    by_dialogue: dict[str, list[float]] = field(default_factory=dict)  # nats and words of each
    turns_seen: int
    steps: int
    train_s: float
    generate_s: float
    tokens_seen: int
    peak_gib: float


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """Replies to the same dialogues under one fixed placeholder_bias."""

    bias: float
    responses: dict[str, list[dict[str, Any]]]
    generate_s: float

    @classmethod
    def of(cls, generated: Generated, bias: float) -> Calibrated:
        return cls(bias=bias, responses=generated.responses, generate_s=generated.generate_s)


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Replies that are yet to be scored, and those under a fixed bias beside them."""

    generated: Generated
    calibrated: Calibrated | None = None

    def score(self) -> Evaluation:
        return score(self.generated, self.calibrated)


@lru_cache(maxsize=8)
def load_evaluator(
    corpus: str, split: str, n_dialogues: int | None, response: str
) -> Evaluator | PlainEvaluator:
    """The evaluator of the first dialogues of the split's fixed order. Lexicalised replies are held
    against the corpus's own words; they offer no placeholder, so Inform and Success say little."""
    loaded = load_corpus(corpus)
    dialogues = validation_subset(loaded.get_split(split), n_dialogues)
    return open_evaluator(loaded, to_references(dialogues, response))


def open_evaluator(corpus: Corpus, references: Sequence[Dialogue]) -> Evaluator | PlainEvaluator:
    """MultiWOZ's where the corpus is of its kind, with goals and databases. Raises ConfigError."""
    if corpus.kind == "multiwoz":
        return Evaluator(references, corpus.database)
    return PlainEvaluator(references, has_slots=corpus.kind == "sgd")


def to_references(dialogues: Iterable[Dialogue], response: str) -> tuple[Dialogue, ...]:
    """What replies of that kind (delexicalised | lexicalised) are held against."""
    return tuple(map(use_lexicalised, dialogues) if response == "lexicalised" else dialogues)


def use_lexicalised(dialogue: Dialogue) -> Dialogue:
    """The dialogue with its replies as they were said in the place of the delexicalised ones."""
    turns = tuple(replace(turn, delexicalised=turn.response) for turn in dialogue.turns)
    return replace(dialogue, turns=turns)


def score(generated: Generated, calibrated: Calibrated | None = None) -> Evaluation:
    """Scores what was generated (evaluation spec, sections 5 to 9), and beside it the replies under
    a fixed bias. Without replies the result has the loss alone."""
    started_s = time.perf_counter()
    scores = score_replies(generated, generated.responses) if generated.responses else None
    beside = score_calibrated(generated, calibrated) if calibrated else None
    generate_s = generated.generate_s + (calibrated.generate_s if calibrated else 0.0)
    train_s = max(generated.train_s, 1e-9)
    result = EvalResult(
        turns_seen=generated.turns_seen,
        steps=generated.steps,
        loss_nats=generated.loss_nats,
        nats_per_word=generated.nats_per_word,
        nats_per_placeholder=generated.nats_per_placeholder,
        **(tell_scores(scores) if scores else count_dialogues(generated)),
        calibrated=beside,
        split=generated.split,
        train_s=generated.train_s,
        eval_s=generate_s + time.perf_counter() - started_s,
        generate_s=generate_s,
        train_turns_per_s=generated.turns_seen / train_s,
        tokens_per_s=generated.tokens_seen / train_s,
        peak_gib=generated.peak_gib,
    )
    dialogues: dict[str, dict[str, Any]] = {**scores.dialogues} if scores else {}
    for name, counts in generated.by_dialogue.items():
        dialogues[name] = {**dialogues.get(name, {}), "loss": counts}
    return Evaluation(result=result, dialogues=dialogues, responses=generated.responses)


def score_replies(generated: Generated, responses: dict[str, list[dict[str, Any]]]) -> Scores:
    evaluator = load_evaluator(
        generated.corpus, generated.split, generated.n_dialogues, generated.response
    )
    return evaluator.score(responses)


def score_calibrated(generated: Generated, calibrated: Calibrated) -> dict[str, float]:
    """See `EvalResult.calibrated`."""
    scores = score_replies(generated, calibrated.responses)
    rates = {name: getattr(scores, name) for name in RATES}
    return {"bias": calibrated.bias, **rates, **(scores.placeholders or {})}


def tell_scores(scores: Scores) -> dict[str, Any]:
    """The fields of EvalResult that the replies decide."""
    names = [*RATES, "richness", "placeholders", "n_dialogues", "n_turns", "states", "intervals"]
    names.append("dst")
    return {name: getattr(scores, name) for name in names}


def count_dialogues(generated: Generated) -> dict[str, Any]:
    """The same where there are no replies."""
    loaded = load_corpus(generated.corpus).get_split(generated.split)
    dialogues = validation_subset(loaded, generated.n_dialogues)
    absent: dict[str, Any] = dict.fromkeys(RATES)
    sizes = {"n_dialogues": len(dialogues), "n_turns": sum(len(d.turns) for d in dialogues)}
    return {**absent, **sizes, "richness": {}, "intervals": {}, "states": "gold"}
