"""Scores a system with perfect replies, or with perfect belief states: how much better it could get
by either alone: python -m tune.ceilings --predictions replies.json

Four rows: the system's replies and the corpus's, each with the system's states and the corpus's.
`tune.evaluate --responses FILE` writes such a file; the states of a system trained with
target=state+response are in it. Without a system: the corpus's own replies and states alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.trial import ConfigError
from tune.plan.system_flags import add_corpus
from tune.terminal.scores import show_interval

if TYPE_CHECKING:
    from trainable.corpus.corpus import Corpus
    from trainable.dialogue.dialogue import Dialogue
    from trainable.evaluation.evaluator import Scores
    from trainable.evaluation.predictions import Responses

METRICS = ("bleu", "inform", "success", "combined")
OWN, SYSTEM = "the corpus's", "the system's"
WIDTH = 120  # characters


@dataclass(frozen=True, kw_only=True)
class Row:
    """One pairing of replies and states."""

    replies: str  # whose
    states: str
    scores: Scores


def build_parser() -> Parser:
    parser = Parser("tune.ceilings", __doc__)
    parser.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE",
        help="JSON in mwzeval's format (default: no system, the corpus's own replies alone)",
    )
    add_corpus(parser, "multiwoz")
    parser.set_defaults(split="validation")
    parser.add_argument(
        "--partial", action="store_true", help="allow replies to a part of the split"
    )
    return parser


def run(flags: argparse.Namespace) -> Outcome:
    from trainable.corpus.load import load_corpus
    from trainable.evaluation.predictions import read_predictions

    responses = read_predictions(flags.predictions) if flags.predictions else None
    corpus = load_corpus(flags.corpus or "multiwoz")
    if corpus.kind != "multiwoz":
        raise ConfigError(f"ceilings need goals and a database, and corpus {corpus.name} has none")
    rows = list_rows(responses, corpus, flags.split, is_partial=flags.partial)
    print_rows(rows)
    return Outcome(facts={"corpus": corpus.name, "split": flags.split, "rows": [*map(spell, rows)]})


def list_rows(
    responses: Responses | None, corpus: Corpus, split: str, *, is_partial: bool
) -> list[Row]:
    """The system's replies and states, each paired with the corpus's; of no system, the corpus's
    alone. Raises ConfigError."""
    from trainable.evaluation.evaluator import Evaluator

    dialogues = corpus.get_split(split)
    if is_partial and responses:
        dialogues = tuple(d for d in dialogues if d.id in responses) or dialogues
    evaluator = Evaluator(dialogues, corpus.database)
    own = evaluator.score(quote_corpus(dialogues), states="gold")
    rows = [Row(replies=OWN, states=OWN, scores=own)]
    if responses is None:
        return rows
    said = evaluator.score(responses, states="gold", partial=is_partial)
    rows.append(Row(replies=SYSTEM, states=OWN, scores=said))
    if all("state" in turn for turns in responses.values() for turn in turns):
        quoted = quote_corpus(dialogues, responses)
        for whose, replies in ((OWN, quoted), (SYSTEM, responses)):
            scores = evaluator.score(replies, states="predicted", partial=is_partial)
            rows.append(Row(replies=whose, states=SYSTEM, scores=scores))
    return rows


def quote_corpus(
    dialogues: Sequence[Dialogue], states: Responses | None = None
) -> dict[str, list[dict[str, Any]]]:
    """The corpus's own replies as a system's, with the states that a system found."""
    return {
        d.id: [
            {"response": turn.delexicalised}
            | ({"state": states[d.id][number]["state"]} if states else {})
            for number, turn in enumerate(d.turns)
        ]
        for d in dialogues
    }


def print_rows(rows: Sequence[Row]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    domains = [*rows[0].scores.per_domain["success"]]
    for title in ("replies", "states"):
        table.add_column(title)
    titles = ("BLEU", *(name.capitalize() for name in METRICS[1:]), *domains)
    for title in titles:
        table.add_column(title, justify="right")
    for row in rows:
        values = [f"{getattr(row.scores, name):.1f}" for name in METRICS]
        values[-1] += f" {show_interval(row.scores.intervals['combined'])}"
        own = row.scores.per_domain["success"]
        table.add_row(row.replies, row.states, *values, *(f"{own[d]:.1f}" for d in domains))
    console = Console()
    Console(width=max(console.width, WIDTH)).print(table)
    console.print("by domain: Success", highlight=False)


def spell(row: Row) -> Mapping[str, Any]:
    scores = row.scores
    return {
        "replies": row.replies,
        "states": row.states,
        **{name: getattr(scores, name) for name in METRICS},
        "intervals": scores.intervals,
        "placeholders": scores.placeholders,
        "success_by_domain": scores.per_domain["success"],
    }


main = make_main(build_parser, run)

if __name__ == "__main__":
    start_command(main)
