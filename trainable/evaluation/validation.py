"""From generated replies to an evaluation, in whatever process has a core to spare: no torch."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from trainable.corpus.load import load_corpus
from trainable.corpus.subset import validation_subset
from trainable.dialogue.dialogue import Dialogue
from trainable.evaluation.evaluator import Evaluator
from trainable.trial import EvalResult, Evaluation


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What an engine made of some dialogues, before it is scored."""

    corpus: str
    response: str  # delexicalised | lexicalised
    split: str
    n_dialogues: int
    responses: dict[str, list[dict[str, Any]]]  # mwzeval's format
    loss_nats: float
    turns_seen: int
    steps: int
    train_s: float
    generate_s: float
    tokens_seen: int
    peak_gib: float


@lru_cache(maxsize=8)
def load_evaluator(corpus: str, split: str, n_dialogues: int, response: str) -> Evaluator:
    """The evaluator of the first dialogues of the split's fixed order. Lexicalised replies are held
    against the corpus's own words; they offer no placeholder, so Inform and Success say little."""
    loaded = load_corpus(corpus)
    dialogues = validation_subset(loaded.get_split(split), n_dialogues)
    return Evaluator(to_references(dialogues, response), loaded.database)


def to_references(dialogues: Iterable[Dialogue], response: str) -> tuple[Dialogue, ...]:
    """What replies of that kind (delexicalised | lexicalised) are held against."""
    return tuple(map(speak_out, dialogues) if response == "lexicalised" else dialogues)


def speak_out(dialogue: Dialogue) -> Dialogue:
    """The dialogue with its replies as they were said in the place of the delexicalised ones."""
    turns = tuple(replace(turn, delexicalised=turn.response) for turn in dialogue.turns)
    return replace(dialogue, turns=turns)


def score(generated: Generated) -> Evaluation:
    """Scores what was generated (evaluation spec, sections 5 to 9)."""
    evaluator = load_evaluator(
        generated.corpus, generated.split, generated.n_dialogues, generated.response
    )
    started_s = time.perf_counter()
    scores = evaluator.score(generated.responses)
    train_s = max(generated.train_s, 1e-9)
    result = EvalResult(
        turns_seen=generated.turns_seen,
        steps=generated.steps,
        loss_nats=generated.loss_nats,
        bleu=scores.bleu,
        inform=scores.inform,
        success=scores.success,
        combined=scores.combined,
        richness=scores.richness,
        n_dialogues=scores.n_dialogues,
        n_turns=scores.n_turns,
        split=generated.split,
        states=scores.states,
        intervals=scores.intervals,
        dst=scores.dst,
        train_s=generated.train_s,
        eval_s=generated.generate_s + time.perf_counter() - started_s,
        generate_s=generated.generate_s,
        train_turns_per_s=generated.turns_seen / train_s,
        tokens_per_s=generated.tokens_seen / train_s,
        peak_gib=generated.peak_gib,
    )
    return Evaluation(result=result, dialogues=scores.dialogues, responses=generated.responses)
