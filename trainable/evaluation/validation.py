"""From generated replies to an evaluation, in whatever process has a core to spare: no torch."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from trainable.corpus.corpus import Corpus
from trainable.corpus.load import load_corpus
from trainable.corpus.losses import Losses
from trainable.corpus.subset import validation_subset
from trainable.dialogue.dialogue import Dialogue
from trainable.evaluation.evaluator import Evaluator, Scores
from trainable.evaluation.plain import PlainEvaluator
from trainable.result import EvalResult, Evaluation, ReplyScores, TrainerState, ValidationRequest

RATES = ("bleu", "inform", "success", "combined")


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What an engine made of some dialogues, before it is scored."""

    corpus: str
    response: str  # delexicalised | lexicalised
    asked: ValidationRequest
    responses: dict[str, list[dict[str, Any]]]  # mwzeval's format; empty: only the loss was asked
    losses: Losses
    state: TrainerState
    generate_s: float


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Replies that are yet to be scored, and those under a fixed bias beside them."""

    generated: Generated
    biased: Generated | None = None  # the same dialogues under one fixed placeholder_bias

    def score(self) -> Evaluation:
        return score(self.generated, self.biased)


def validate(
    generate: Callable[[ValidationRequest], Generated], asked: ValidationRequest
) -> Validation:
    """Generates what was asked for, and where it has a bias once more under that."""
    generated = generate(asked._replace(bias=None))
    has_two = asked.bias is not None and asked.replies
    return Validation(generated=generated, biased=generate(asked) if has_two else None)


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


def score(generated: Generated, biased: Generated | None = None) -> Evaluation:
    """Scores what was generated (evaluation spec, sections 5 to 9), and beside it the replies under
    a fixed bias. Without replies the result has the loss alone."""
    started_s = time.perf_counter()
    scores = score_replies(generated) if generated.responses else None
    beside = score_biased(biased) if biased else None
    generate_s = generated.generate_s + (biased.generate_s if biased else 0.0)
    result = EvalResult.join(
        generated.state,
        generated.losses,
        scores or count_dialogues(generated),
        calibrated=beside,
        split=generated.asked.split,
        eval_s=generate_s + time.perf_counter() - started_s,
        generate_s=generate_s,
    )
    dialogues: dict[str, dict[str, Any]] = {**scores.dialogues} if scores else {}
    for name, counts in generated.losses.by_dialogue.items():
        dialogues[name] = {**dialogues.get(name, {}), "loss": counts}
    return Evaluation(result=result, dialogues=dialogues, responses=generated.responses)


def score_replies(generated: Generated) -> Scores:
    """The replies' scores by their corpus's evaluator."""
    n_dialogues, split = generated.asked.n_dialogues, generated.asked.split
    evaluator = load_evaluator(generated.corpus, split, n_dialogues, generated.response)
    return evaluator.score(generated.responses)


def score_biased(biased: Generated) -> dict[str, float]:
    """See `EvalResult.calibrated`."""
    scores = score_replies(biased)
    rates = {name: getattr(scores, name) for name in RATES}
    return {"bias": biased.asked.bias, **rates, **(scores.placeholders or {})}


def count_dialogues(generated: Generated) -> ReplyScores:
    """Where there are no replies: on how many dialogues and turns the loss was measured."""
    loaded = load_corpus(generated.corpus).get_split(generated.asked.split)
    dialogues = validation_subset(loaded, generated.asked.n_dialogues)
    return ReplyScores.absent(len(dialogues), sum(len(d.turns) for d in dialogues))
