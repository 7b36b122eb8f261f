"""How fast a trial will train and validate here: as an earlier sweep recorded it, or from sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from analysis.records import SweepRecords, read_sweep
from trainable.model.packable import is_toy
from trainable.trial import ConfigError, TrialConfig

if TYPE_CHECKING:
    from trainable.dialogue.database import Database
    from trainable.dialogue.dialogue import Dialogue

SAMPLE = 200  # training dialogues that the length of a turn is read from
# Floating point operations a second in training. One core: of a model of 1.2M parameters. GPU: of
# 200M on an H200, growing with the cube root of the size: sweeps there reached 1.2 to 1.9e14 with
# SmolLM2-135M (197M, its embedding counted twice), 2e14 with 0.5B and 3.2e14 with 7B
# (analysis/results/hosts, models). Generating: a tenth of that.
FLOPS = {"GPU": 1.2e14, "core": 4e10}
PARAMS_OF_GPU = 2e8
GENERATING = 0.1
CHARS_A_TOKEN = 3.6  # of MultiWOZ, in SmolLM2's tokens
RECENT = 20  # earlier sweeps looked at


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds on one GPU, or one core."""

    turn_s: float  # to train on a system turn
    dialogue_s: float  # to validate on a dialogue, with replies
    why: str
    turns_a_dialogue: float = 1.0
    dialogues: int = 0  # all of the validation split


def find_pace(trial: TrialConfig, unit: str, storage: Path) -> Pace:
    """As an earlier sweep under the same storage recorded it, else from sizes."""
    if is_toy(trial):
        turn_s = float(trial.base_model.partition(":")[2] or 0)
        return Pace(turn_s=turn_s, dialogue_s=0, why="the toy takes the time that it says")
    dialogues, turns = measure_validation(trial.corpus)
    for records in read_earlier(storage):
        if (pace := read_pace(records, trial, unit)) is not None:
            break
    else:
        pace = assume_pace(trial, unit)
    return replace(pace, turns_a_dialogue=turns, dialogues=dialogues)


@lru_cache(maxsize=4)
def measure_validation(corpus: str) -> tuple[int, float]:
    """Dialogues of the validation split, and system turns a dialogue."""
    from trainable.corpus.load import load_corpus

    dialogues = load_corpus(corpus).get_split("validation")
    return len(dialogues), fmean(len(d.turns) for d in dialogues)


@lru_cache(maxsize=4)
def read_earlier(storage: Path) -> tuple[SweepRecords, ...]:
    """The latest sweeps there, the newest first; what cannot be read is left out."""
    headers = sorted(storage.glob("*/sweep.json"), key=lambda p: p.stat().st_mtime, reverse=True)
    found = []
    for header in headers[:RECENT]:
        try:
            found.append(read_sweep(header.parent))
        except (ConfigError, OSError):
            continue
    return tuple(found)


def read_pace(records: SweepRecords, trial: TrialConfig, unit: str) -> Pace | None:
    kept = ("base_model", "corpus", "format", "method")
    last = [
        t.replied[-1]
        for t in records.searched
        if t.replied and all(t.config.get(name) == getattr(trial, name) for name in kept)
    ]
    last = [e for e in last if (e.place.get("gpu") is not None) == (unit == "GPU")]
    trained = [e.train_s / e.turns_seen for e in last if e.turns_seen > 0]
    if not last or (trial.train_turns and not trained):
        return None
    return Pace(
        turn_s=median(trained) if trained else 0.0,
        dialogue_s=median(e.eval_s / e.n_dialogues for e in last),
        why=f"{trial.base_model} as fast as in {records.folder.name}",
    )


def assume_pace(trial: TrialConfig, unit: str) -> Pace:
    """From parameters and tokens, at an assumed speed."""
    from trainable.model.sizes import read_sizes

    params = read_sizes(trial.base_model).total_params
    turn, reply, context, turns = measure_text(trial)
    flops = 6 if trial.method == "full" else 4  # a frozen weight needs no gradient of its own
    speed = assume_speed(params, unit)
    written_s = 2 * params * reply / (GENERATING * speed)
    read_s = 2 * params * context / speed
    return Pace(
        turn_s=flops * params * (context if trial.format == "turns" else turn) / speed,
        dialogue_s=turns * (written_s + read_s),
        why=f"{trial.base_model}: {params / 1e6:,.0f}M parameters, {turn:.0f} tokens a turn "
        f"({CHARS_A_TOKEN} characters each), {speed:.1g} operations/s a {unit} in training "
        f"and {GENERATING:g} of it in generating",
    )


def assume_speed(params: int, unit: str) -> float:
    """Operations a second.

    >>> [f"{assume_speed(params, 'GPU'):.1e}" for params in (197_000_000, 6_900_000_000)]
    ['1.2e+14', '3.9e+14']
    """
    grown = (params / PARAMS_OF_GPU) ** (1 / 3) if unit == "GPU" else 1.0
    return FLOPS[unit] * grown


def measure_text(trial: TrialConfig) -> tuple[float, float, float, float]:
    """Tokens of a system turn with its user's, of its reply, of it with all before it; and turns
    a dialogue: means over the first training dialogues."""
    from trainable.corpus.prompt import render

    dialogues, database = read_sample(trial.corpus)
    turns, replies, contexts, counts = [], [], [], []
    for dialogue in dialogues:
        segments = render(dialogue, trial, database)
        replies += [len(s.text) / CHARS_A_TOKEN for s in segments if s.is_target]
        total = sum(len(s.text) for s in segments) / CHARS_A_TOKEN
        n = len(dialogue.turns)
        turns.append(total / n)
        contexts.append(total * (n + 1) / (2 * n))
        counts.append(n)
    return fmean(turns), fmean(replies), fmean(contexts), fmean(counts)


@lru_cache(maxsize=4)
def read_sample(corpus: str) -> tuple[tuple[Dialogue, ...], Database]:
    """Some training dialogues, with the database that they ask."""
    from trainable.corpus.load import load_corpus

    loaded = load_corpus(corpus)
    return loaded.get_split("train")[:SAMPLE], loaded.database
