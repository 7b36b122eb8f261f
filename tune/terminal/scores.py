"""An evaluation's scores for a terminal: the official table, and what stands below it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from trainable.corpus.corpus import Corpus
    from trainable.evaluation.evaluator import Scores

# the official table's columns: title, where Scores keeps it, format
COLUMNS = (
    ("BLEU", "bleu", ".1f"),
    ("Inform", "inform", ".1f"),
    ("Success", "success", ".1f"),
    ("Combined", "combined", ".1f"),
    ("Av. len.", "avg_lengths", ".2f"),
    ("CBE", "cond_entropy", ".2f"),
    ("#uniq. words", "num_unigrams", "d"),
    ("#uniq. 3-grams", "num_trigrams", "d"),
)
WIDTH = 100  # characters


def print_scores(scores: Scores, corpus: Corpus, split: str) -> None:
    """Tables of the scores, of domains and of placeholders, with intervals where there are some."""
    from rich.console import Console

    console = Console()
    console = Console(width=max(console.width, WIDTH))  # numbers are never cut off
    board = "" if scores.combined is None else f", {scores.states} states: the {scores.board} board"
    console.print(
        f"{corpus.name}, {split} split: {scores.n_dialogues} dialogues, {scores.n_turns} turns"
        f"{board}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(build_table(scores))
    if scores.per_domain:
        console.print(build_domains(scores))
    if scores.placeholders:
        console.print(
            "placeholders a reply: {per_reply:.2f}, the corpus {corpus_per_reply:.2f}; turn by "
            "turn: precision {precision:.1f}, recall {recall:.1f}, F1 {f1:.1f}".format(
                **scores.placeholders
            ),
            highlight=False,
        )
    if scores.dst:
        spread = scores.intervals.get("joint_accuracy")
        console.print(
            f"state tracking: joint accuracy {scores.dst['joint_accuracy']:.1f}"
            f"{f' ({show_interval(spread)})' if spread else ''}, "
            f"slot F1 {scores.dst['slot_f1']:.1f}",
            highlight=False,
        )


def build_table(scores: Scores) -> Table:
    """The official table's columns, and under them the 95 % intervals over dialogues."""
    from rich import box
    from rich.table import Table

    values = {**scores.richness, **asdict(scores)}
    columns = [column for column in COLUMNS if values[column[1]] is not None]
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for title, _, _ in columns:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_row(*(format(values[name], spec) for _, name, spec in columns))
    table.add_row(
        *(
            show_interval(scores.intervals[name]) if name in scores.intervals else ""
            for _, name, _ in columns
        ),
        style="dim",
    )
    return table


def build_domains(scores: Scores) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    table.add_column("Domain")
    for metric in ("inform", "success"):
        table.add_column(metric.capitalize(), justify="right")
        table.add_column("95 %", justify="right", style="dim")
    for domain in scores.per_domain["inform"]:
        cells = [domain]
        for metric in ("inform", "success"):
            cells.append(f"{scores.per_domain[metric][domain]:.1f}")
            cells.append(show_interval(scores.domain_intervals[metric][domain]))
        table.add_row(*cells)
    return table


def show_interval(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.1f}–{interval[1]:.1f}"
