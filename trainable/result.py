"""What a trial yields: the scores of its replies, its losses, how far it was trained.

A metric of replies is a field of ReplyScores, and of nothing else. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Self

RESOURCE = "turns_seen"  # the names that Ray's scheduler and Optuna see
OBJECTIVE = "combined"  # where nothing else is asked for
LOWER_IS_BETTER = ("loss",)


class ValidationRequest(NamedTuple):
    """On what a trial is validated, and how."""

    n_dialogues: int | None  # the first of the split's fixed order; None: all
    replies: bool = True  # False: the loss on the corpus's own replies alone
    bias: float | None = None  # of `evaluate`: decode once more under this placeholder_bias
    split: str = "validation"


@dataclass(frozen=True, kw_only=True)
class TrainerState:
    """How far a trial was trained, and how fast."""

    turns_seen: int  # system turns trained on: the resource of ASHA and the x-axis everywhere
    steps: int  # optimizer steps
    # seconds of training since the trial's start, evaluations left out; of passes that several
    # trials share, a part
    train_s: float = 0.0
    recording_s: float = 0.0  # of those, what recordings of passes took (on a GPU)
    train_turns_per_s: float = 0.0
    tokens_per_s: float = 0.0
    peak_gib: float = 0.0

    @classmethod
    def of(
        cls,
        *,
        turns_seen: int,
        steps: int,
        train_s: float,
        tokens_seen: int,
        peak_gib: float,
        recording_s: float = 0.0,
    ) -> Self:
        seconds = max(train_s, 1e-9)
        rates = {"train_turns_per_s": turns_seen / seconds, "tokens_per_s": tokens_seen / seconds}
        times = {"train_s": train_s, "recording_s": recording_s}
        return cls(turns_seen=turns_seen, steps=steps, peak_gib=peak_gib, **times, **rates)


@dataclass(frozen=True, kw_only=True)
class MeanLosses:
    """The corpus's own replies under the model: means over some dialogues; None: not measured, or
    there is nothing to take a mean of."""

    loss_nats: float | None  # a target token
    # a word (between spaces) of a reply and its end, so that tokenizers compare
    nats_per_word: float | None = None
    nats_per_placeholder: float | None = None  # its tokens', brackets included


@dataclass(frozen=True, kw_only=True)
class ReplyScores:
    """What replies to some dialogues are worth. BLEU and the rates lie in 0..100 (rates rounded to
    0.1, as published), Combined in 0..200 (evaluation spec, section 8); None: not measured, for
    there are no replies, or no goals."""

    bleu: float | None
    inform: float | None
    success: float | None
    combined: float | None
    richness: dict[str, float]  # evaluation spec, section 7
    n_dialogues: int
    n_turns: int
    states: str  # gold (policy optimisation board) | predicted (end-to-end board)
    # bleu, inform, success, combined (joint_accuracy) -> 95 % bootstrap interval over dialogues
    intervals: dict[str, tuple[float, float]]
    dst: dict[str, float] | None = None  # evaluation spec, section 9; predicted states only
    # per_reply, corpus_per_reply (numbers); precision, recall, f1 (0..100, turn by turn)
    placeholders: dict[str, float] | None = None
    distinct_replies: float | None = None  # in 0..100: of all replies, those no other equals, once

    @classmethod
    def absent(cls, n_dialogues: int, n_turns: int) -> ReplyScores:
        """Where the loss alone was measured."""
        unknown: dict[str, Any] = dict.fromkeys(("bleu", "inform", "success", "combined"))
        unknown |= {"richness": {}, "intervals": {}, "states": "gold"}
        return ReplyScores(n_dialogues=n_dialogues, n_turns=n_turns, **unknown)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalResult(ReplyScores, MeanLosses, TrainerState):
    """One validation of one trial: a line of evals.jsonl."""

    split: str  # train | validation | test
    # the same dialogues decoded with one fixed placeholder_bias: bias, bleu, inform, success,
    # combined, and placeholders' figures; beside the headline, never in its place
    calibrated: dict[str, float] | None = None
    # what trials are compared by, where that is not Combined: its name, direction (max, min) and
    # value, None where it was not measured; and what else was measured of the replies
    objective: dict[str, Any] | None = None
    metrics: dict[str, float] | None = None
    eval_s: float = 0.0  # seconds of this evaluation
    generate_s: float | None = None  # of these, the device's share; None: not told apart

    @classmethod
    def join(cls, state: TrainerState, losses: MeanLosses, scores: ReplyScores, **own: Any) -> Self:
        """The parts' fields, and its own; what a part has beyond them (each dialogue's counts) is
        left out."""
        known = {f.name for f in fields(cls)}
        parts = {**vars(state), **vars(losses), **vars(scores)}
        return cls(**{name: value for name, value in parts.items() if name in known}, **own)

    @property
    def name(self) -> str:
        """The objective's."""
        return OBJECTIVE if self.objective is None else str(self.objective["name"])

    @property
    def value(self) -> float | None:
        """The objective's, as it is shown; None: it was not measured (no replies were made)."""
        return self.combined if self.objective is None else self.objective["value"]

    @property
    def sign(self) -> int:
        """Of the objective: -1 where lower is better."""
        return -1 if self.objective and self.objective["direction"] == "min" else 1

    @property
    def score(self) -> float:
        """The value with the sign that makes higher better, of an evaluation with replies."""
        assert self.value is not None, f"nothing was measured at {self.turns_seen} turns"
        return self.sign * self.value


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A result with what stands behind it, per dialogue and per turn."""

    result: EvalResult
    # dialogue id -> {"inform": 0|1, "success": 0|1,
    #                 "bleu": [4 n-gram matches, 4 n-gram totals, hypothesis and reference tokens]}
    dialogues: dict[str, dict[str, Any]]
    # dialogue id -> one {"response": ...} a system turn: mwzeval's format
    responses: dict[str, list[dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What a trial's config came to on the model it met: recorded with its first result."""

    modules: tuple[str, ...] = field(default_factory=tuple)  # full paths of the adapted modules
    trainable_params: int = 0
    total_params: int = 0
    base_residency: str = ""  # nf4 | dequantized | fp8 | 16 or 32 bit: how the frozen base is held
    compute: str = ""  # fp16 | bf16 | fp32; "": recorded before it was told
    execution: str = ""  # packed | solo, and why solo when it could not be packed
    device: str = ""  # GPU model or "cpu"
    # of the base model: its weights' fingerprint, and how its tokenizer begins and ends a sequence
    base: dict[str, Any] = field(default_factory=dict)
