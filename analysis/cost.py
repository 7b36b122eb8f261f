"""What a sweep's answer cost, and what the baselines would have cost:
`python -m analysis.cost NAME --rates FILE`.

FILE holds what `python -m tune.bench.baselines --checkpoint ...` printed on the same machine. Only
the sweep itself was run whole; the other rows are worked out from measured rates.
"""

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from analysis.curves import trained_turns
from analysis.labels import count_points, format_score, label_objective
from analysis.machines import (
    count_engines,
    count_gpus,
    count_room,
    share_time,
    sum_reply_s,
    worked_until,
)
from analysis.records import EvalRecord, SweepRecords, TrialRecord, find_sweep, read_sweep
from trainable.command.flags import add_name
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.trial import ConfigError

NEAR = 1.0  # points (see `count_points`) below the highest: good enough an answer
LAB_REPLIES = "reply, batch 16"


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Of one way of working, all of its processes together."""

    train_turns_per_s: float
    reply_turns_per_s: float
    tokens_a_turn: float  # of the trial that they were measured with


@dataclass(frozen=True, kw_only=True)
class NearAnswer:
    """The first evaluation, as thorough as any, that came near the highest of those."""

    trial: TrialRecord
    evaluation: EvalRecord
    highest: float  # value of the objective


@dataclass(frozen=True, kw_only=True)
class TrainingWork:
    """What was trained on and replied to."""

    tokens: float
    replies: int


@dataclass(frozen=True, kw_only=True)
class CostRow:
    way: str
    seconds: float
    gpus: int
    is_measured: bool


def find_answer(sweep: SweepRecords) -> NearAnswer:
    """Raises ConfigError where nothing was evaluated to the end."""
    evals = [(e, t) for t in sweep.searched for e in t.replied]
    most = max((e.n_dialogues for e, _ in evals), default=0)
    finals = [(e, t) for e, t in evals if e.n_dialogues == most and is_final(e, t)]
    if not finals:
        raise ConfigError(f"{sweep.name} has no trial that was trained to its end")
    if not trained_turns(sweep.searched):
        raise ConfigError(f"{sweep.name} trains nothing, so that no training has a cost")
    highest = max(e.score for e, _ in finals)
    least = highest - NEAR * count_points(sweep.objective, highest)
    near = [(e, t) for e, t in finals if e.score >= least]
    evaluation, trial = min(near, key=lambda pair: pair[0].time_s)
    return NearAnswer(trial=trial, evaluation=evaluation, highest=evaluation.sign * highest)


def is_final(evaluation: EvalRecord, trial: TrialRecord) -> bool:
    return evaluation.turns_seen >= int(trial.config.get("train_turns") or 0)


def cost(sweep: SweepRecords, rates: dict[str, Rates]) -> list[CostRow]:
    """Time to the answer: the lab's way and the solo engine train trial after trial to the end, in
    the order in which they were proposed, up to the one that gave it; the stock way prunes as the
    sweep did; ours without pruning trains them all to the end, as many at a time as the sweep."""
    answer = find_answer(sweep)
    spent = count_until(sweep, answer.evaluation.time_s)
    whole = [finish(t, answer) for t in sweep.searched if t.number <= answer.trial.number]
    rows = []
    if "lab" in rates:
        rows.append(estimate("the lab's way, a trial at a time", add(whole), rates["lab"]))
    if "engine" in rates:
        rows.append(estimate("our engine, a trial at a time", add(whole), rates["engine"]))
    if "stock" in rates:
        rows.append(estimate("Ray Tune and peft, several a GPU, pruned", spent, rates["stock"]))
    own = own_rates(sweep)
    waves = [t for t in sweep.searched if t.number < complete_wave(sweep, answer.trial.number)]
    unpruned = estimate("ours, nothing pruned", add([finish(t, answer) for t in waves]), own)
    rows.append(replace(unpruned, gpus=count_gpus(sweep)))
    seconds = worked_until(sweep, answer.evaluation.time_s)
    return [*rows, CostRow(way="ours", seconds=seconds, gpus=count_gpus(sweep), is_measured=True)]


def estimate(way: str, work: TrainingWork, rates: Rates) -> CostRow:
    seconds = work.tokens / (rates.train_turns_per_s * rates.tokens_a_turn)
    seconds += work.replies / rates.reply_turns_per_s
    return CostRow(way=way, seconds=seconds, gpus=1, is_measured=False)


def count_until(sweep: SweepRecords, time_s: float) -> TrainingWork:
    """The work behind all evaluations up to a moment."""
    works = []
    for trial in sweep.searched:
        done = [e for e in trial.evals if e.time_s <= time_s]
        if done:
            replies = sum(e.n_turns for e in done if e.bleu is not None)
            works.append(TrainingWork(tokens=count_tokens(done[-1]), replies=replies))
    return add(works)


def finish(trial: TrialRecord, answer: NearAnswer) -> TrainingWork:
    """The trial trained to its end and evaluated once, there, as the answer was."""
    turns = float(trial.config.get("train_turns") or 0)
    seen = next((e for e in reversed(trial.evals) if e.turns_seen), answer.evaluation)
    tokens = turns * count_tokens(seen) / seen.turns_seen
    return TrainingWork(tokens=tokens, replies=answer.evaluation.n_turns)


def count_tokens(evaluation: EvalRecord) -> float:
    """Trained on up to there."""
    return evaluation.tokens_per_s * evaluation.train_s


def add(works: Iterable[TrainingWork]) -> TrainingWork:
    listed = list(works)
    return TrainingWork(
        tokens=sum(w.tokens for w in listed), replies=sum(w.replies for w in listed)
    )


def own_rates(sweep: SweepRecords) -> Rates:
    """The sweep's own, of all its engines, over the time in which they trained and replied."""
    engines = count_engines(sweep)
    lasts = [t.evals[-1] for t in sweep.searched if t.evals]
    turns = trained_turns(sweep.searched)
    evals = [e for t in sweep.searched for e in t.replied]
    return Rates(
        train_turns_per_s=engines * turns / sum(e.train_s for e in lasts),
        reply_turns_per_s=engines * sum(e.n_turns for e in evals) / sum_reply_s(evals),
        tokens_a_turn=sum(count_tokens(e) for e in lasts) / turns,
    )


def complete_wave(sweep: SweepRecords, number: int) -> int:
    """How many trials have been started when as many as run at a time are whole again."""
    room = count_room(sweep)
    return math.ceil((number + 1) / room) * room


def read_rates(path: Path) -> dict[str, Rates]:
    """Raises ConfigError where the file is not what `tune.bench.baselines` prints."""
    found: dict[str, dict[str, float]] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            kept = found.setdefault(row["way"], {"tokens": float(row["tokens_a_turn"])})
            if row["work"] == "train":
                kept["train"] = float(row["turns_per_s"])
            elif row["way"] != "lab" or row["work"] == LAB_REPLIES:
                kept["reply"] = float(row["turns_per_s"])
        return {
            way: Rates(
                train_turns_per_s=kept["train"],
                reply_turns_per_s=kept["reply"],
                tokens_a_turn=kept["tokens"],
            )
            for way, kept in found.items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--rates must be a file of the lines that tune.bench.baselines prints, and {path} is "
            f"not ({type(error).__name__}: {error})"
        ) from error


def render(sweep: SweepRecords, rows: Sequence[CostRow]) -> str:
    answer, ours = find_answer(sweep), rows[-1].seconds
    lines = [
        f"To within {NEAR:g} point of the highest {label_objective(sweep.objective)} of a trial "
        f"({format_score(answer.highest, sweep.objective)}; trial {answer.trial.id}: "
        f"{format_score(answer.evaluation.value, sweep.objective)}):",
        "",
        "| way | minutes | GPU-minutes | against ours |",
        "|---" * 4 + "|",
    ]
    for row in rows:
        minutes = row.seconds / 60
        note = "" if row.is_measured else " (worked out)"
        lines.append(
            f"| {row.way}{note} | {minutes:.1f} | {minutes * row.gpus:.1f} | "
            f"{row.seconds / ours:.1f}x |"
        )
    shares = share_time(sweep).items()
    parts = ", ".join(f"{part} {100 * share:.0f} %" for part, share in shares)
    return "\n".join([*lines, "", f"Where the sweep's GPU time went: {parts}."])


def compare_costs(flags: argparse.Namespace) -> Outcome:
    sweep = read_sweep(find_sweep(flags.name, flags.storage))
    rows = cost(sweep, read_rates(flags.rates))
    print(render(sweep, rows))
    return Outcome(facts={"name": sweep.name, "rows": [asdict(row) for row in rows]})


def build_parser() -> Parser:
    parser = Parser("analysis.cost", __doc__)
    add_name(parser)
    text = "what tune.bench.baselines printed on the same machine"
    parser.add_argument("--rates", type=Path, required=True, metavar="FILE", help=text)
    return parser


main = make_main(build_parser, compare_costs)

if __name__ == "__main__":
    start_command(main)
