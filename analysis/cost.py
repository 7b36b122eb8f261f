"""What a sweep cost, and what the same would have cost in other ways:
`python -m analysis.cost NAME --rates FILE`.

FILE holds what `python -m tune.bench.baselines --checkpoint ...` printed on the same machine. Only
the sweep itself was run whole; the other rows are worked out from measured rates.
"""

import argparse
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from analysis.curves import trained_turns
from analysis.labels import to_markdown
from analysis.machines import (
    FORWARD,
    all_evals,
    count_engines,
    count_gpus,
    share_time,
    sum_reply_s,
    worked_until,
)
from analysis.records import EvalRecord, SweepRecords, TrialRecord, find_sweep, read_sweep
from trainable.command.flags import add_name
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.trial import ConfigError

LAB_REPLIES = "reply, batch 16"
COLUMNS = ("way", "training", "validation", "the rest", "in all", "GPU-minutes", "against ours")
WAYS = {
    "lab": "the lab's way, a trial at a time",
    "engine": "our engine, a trial at a time",
    "stock": "Ray Tune and peft, several a GPU, the same race",
    "careful": "peft with care, the same race",
}


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Of one way of working, all of its processes together."""

    train_turns_per_s: Mapping[int, float]  # by dialogues a step; of one measured alone: by 1
    reply_turns_per_s: float
    tokens_a_turn: float  # of the trial that they were measured with

    def train_tokens_per_s(self, dialogues: float) -> float:
        """At the largest batch that so many dialogues a step allow, else at the smallest."""
        allowed = [n for n in self.train_turns_per_s if n <= dialogues]
        batch = max(allowed, default=min(self.train_turns_per_s))
        return self.train_turns_per_s[batch] * self.tokens_a_turn


@dataclass(frozen=True, kw_only=True)
class TrialWork:
    """What a trial was trained on, scored on and replied to."""

    tokens: float  # trained on
    loss_tokens: float  # of dialogues whose loss was computed
    replies: int
    dialogues: float  # a step


@dataclass(frozen=True, kw_only=True)
class CostRow:
    way: str
    train_s: float
    validation_s: float  # replies and losses
    other_s: float  # starting, waiting, idle
    gpus: int
    is_measured: bool

    @property
    def seconds(self) -> float:
        return self.train_s + self.validation_s + self.other_s


def cost(sweep: SweepRecords, rates: dict[str, Rates]) -> list[CostRow]:
    """Without a race all trials are trained to the end and scored once, there, as thoroughly as
    any; the stock and the careful way stop them where the sweep did, by the same losses. Raises
    ConfigError where nothing was trained, or none to its end."""
    last = find_last(sweep)
    whole = [finish(t, last) for t in sweep.searched]
    spent = [sum_up(t) for t in sweep.searched if t.evals]
    works = {"lab": whole, "engine": whole, "stock": spent, "careful": spent}
    rows = [estimate(WAYS[way], works[way], rates[way]) for way in WAYS if way in rates]
    unraced = estimate("ours, without a race", whole, own_rates(sweep))
    return [*rows, replace(unraced, gpus=count_gpus(sweep)), measure(sweep)]


def find_last(sweep: SweepRecords) -> EvalRecord:
    """An evaluation as thorough as any."""
    if not trained_turns(sweep.searched):
        raise ConfigError(f"{sweep.name} trains nothing, so that no training has a cost")
    evals = [e for t in sweep.searched for e in t.replied if is_final(e, t)]
    if not evals:
        raise ConfigError(f"{sweep.name} has no trial that was trained to its end")
    return max(evals, key=lambda e: e.n_dialogues)


def is_final(evaluation: EvalRecord, trial: TrialRecord) -> bool:
    return evaluation.turns_seen >= int(trial.config.get("train_turns") or 0)


def measure(sweep: SweepRecords) -> CostRow:
    seconds = worked_until(sweep, max(e.time_s for e in all_evals(sweep)))
    train_s, validation_s, other_s = (seconds * share for share in share_time(sweep).values())
    return CostRow(
        way="ours", train_s=train_s, validation_s=validation_s, other_s=other_s,
        gpus=count_gpus(sweep), is_measured=True,
    )  # fmt: skip


def estimate(way: str, works: Sequence[TrialWork], rates: Rates) -> CostRow:
    train_s = sum(w.tokens / rates.train_tokens_per_s(w.dialogues) for w in works)
    loss_s = sum(w.loss_tokens for w in works) / rates.train_tokens_per_s(math.inf)
    reply_s = sum(w.replies for w in works) / rates.reply_turns_per_s
    return CostRow(
        way=way, train_s=train_s, validation_s=reply_s + FORWARD * loss_s, other_s=0.0,
        gpus=1, is_measured=False,
    )  # fmt: skip


def sum_up(trial: TrialRecord) -> TrialWork:
    """As far as it came."""
    last = trial.evals[-1]
    tokens = count_tokens(last)
    return TrialWork(
        tokens=tokens,
        loss_tokens=tokens / max(last.turns_seen, 1) * sum(e.n_turns for e in trial.evals),
        replies=sum(e.n_turns for e in trial.evals if e.bleu is not None),
        dialogues=dialogues_a_step(trial, last),
    )


def finish(trial: TrialRecord, last: EvalRecord) -> TrialWork:
    """The trial trained to its end and evaluated once, there, as `last` was."""
    turns = float(trial.config.get("train_turns") or 0)
    seen = next((e for e in reversed(trial.evals) if e.turns_seen), last)
    tokens_a_turn = count_tokens(seen) / seen.turns_seen
    return TrialWork(
        tokens=turns * tokens_a_turn,
        loss_tokens=last.n_turns * tokens_a_turn,
        replies=last.n_turns,
        dialogues=dialogues_a_step(trial, last),
    )


def count_tokens(evaluation: EvalRecord) -> float:
    """Trained on up to there."""
    return evaluation.tokens_per_s * evaluation.train_s


def dialogues_a_step(trial: TrialRecord, evaluation: EvalRecord) -> float:
    """As long as the validation dialogues."""
    turns = float(trial.config.get("batch_turns") or 1)
    return turns * evaluation.n_dialogues / max(evaluation.n_turns, 1)


def own_rates(sweep: SweepRecords) -> Rates:
    """The sweep's own, of all its engines, over the time in which they trained and replied."""
    engines = count_engines(sweep)
    lasts = [t.evals[-1] for t in sweep.searched if t.evals]
    turns = trained_turns(sweep.searched)
    evals = [e for t in sweep.searched for e in t.replied]
    return Rates(
        train_turns_per_s={1: engines * turns / sum(e.train_s for e in lasts)},
        reply_turns_per_s=engines * sum(e.n_turns for e in evals) / sum_reply_s(evals),
        tokens_a_turn=sum(count_tokens(e) for e in lasts) / turns,
    )


def read_rates(path: Path) -> dict[str, Rates]:
    """The fastest replies of a way; of the lab's, as it replied. Raises ConfigError where the file
    is not what `tune.bench.baselines` prints."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        by_way = {way: [row for row in rows if row["way"] == way] for way in WAYS}
        return {way: choose_rates(found) for way, found in by_way.items() if found}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--rates must be a file of the lines that tune.bench.baselines prints, and {path} is "
            f"not ({type(error).__name__}: {error})"
        ) from error


def choose_rates(rows: Sequence[dict[str, Any]]) -> Rates:
    trained = [row for row in rows if row["work"].startswith("train")]
    replied = [row for row in rows if row["work"].startswith("reply")]
    replied = [row for row in replied if row["way"] != "lab" or row["work"] == LAB_REPLIES]
    by_batch: dict[int, float] = {}
    for row in trained:
        batch = count_dialogues(row["work"])
        by_batch[batch] = max(by_batch.get(batch, 0.0), float(row["turns_per_s"]))
    return Rates(
        train_turns_per_s=by_batch,
        reply_turns_per_s=max(float(row["turns_per_s"]) for row in replied),
        tokens_a_turn=float(rows[0]["tokens_a_turn"]),
    )


def count_dialogues(work: str) -> int:
    """ "train, 16 dialogues": 16; "train": 1"""
    found = re.search(r"(\d+) dialogues", work)
    return int(found[1]) if found else 1


def render(sweep: SweepRecords, rows: Sequence[CostRow]) -> str:
    turns = max(int(t.config.get("train_turns") or 0) for t in sweep.searched)
    told = f"{len(sweep.searched)} trials of up to {turns:,} turns, in minutes:"
    table = to_markdown([COLUMNS, *(list_cells(row, rows[-1]) for row in rows)])
    return f"{told}\n\n{table}\n\nWorked out from rates: without starting, waiting and idle time."


def list_cells(row: CostRow, ours: CostRow) -> list[str]:
    way = row.way if row.is_measured else f"{row.way} (worked out)"
    spent = (row.train_s, row.validation_s, row.other_s, row.seconds, row.seconds * row.gpus)
    train, validation, rest, whole, of_gpus = (f"{seconds / 60:.1f}" for seconds in spent)
    rest = rest if row.is_measured else "-"
    return [way, train, validation, rest, whole, of_gpus, f"{row.seconds / ours.seconds:.1f}x"]


def compare_costs(flags: argparse.Namespace) -> Outcome:
    sweep = read_sweep(find_sweep(flags.name, flags.storage))
    rows = cost(sweep, read_rates(flags.rates))
    print(render(sweep, rows))
    facts = [asdict(row) | {"seconds": row.seconds} for row in rows]
    return Outcome(facts={"name": sweep.name, "rows": facts})


def build_parser() -> Parser:
    parser = Parser("analysis.cost", __doc__)
    add_name(parser)
    text = "what tune.bench.baselines printed on the same machine"
    parser.add_argument("--rates", type=Path, required=True, metavar="FILE", help=text)
    return parser


main = make_main(build_parser, compare_costs)

if __name__ == "__main__":
    start_command(main)
