"""The leaderboard of the report's page: each column, and each row's cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.labels import label_objective
from analysis.ranking import Entry, searched_fields
from analysis.rows import to_cells, to_row
from trainable.result import OBJECTIVE

AFTER_SCORE = ("to first", "Bleu", "Success", "Inform", "Richness")
ALWAYS_LAST = ("trainable", "turns", "seeds", "state")
LOW_FIRST = ("rank", "trainable", "params")  # numbers that are sorted ascending at first


@dataclass(frozen=True, kw_only=True)
class Column:
    name: str
    kinds: str  # classes: number or text, field (it is searched), more (shown where all are)
    first: str  # how its button sorts first: ascending | descending


@dataclass(frozen=True, kw_only=True)
class Cell:
    text: str
    value: Any  # what is sorted and filtered by; "": none


@dataclass(frozen=True, kw_only=True)
class BoardRow:
    is_base: bool
    milestone_turns: int
    trials: Sequence[str]
    cells: dict[str, Cell]


@dataclass(frozen=True, kw_only=True)
class Board:
    columns: Sequence[Column]
    rows: Sequence[BoardRow]


def lay_out(entries: Sequence[Entry]) -> Board:
    cells = [to_cells(entry) for entry in entries]
    raw = [to_row(entry) for entry in entries]
    fields = searched_fields(entries)
    there = list(dict.fromkeys(name for row in cells for name in row))
    label = label_objective(next((e.objective for e in entries), OBJECTIVE))
    rest = [c for c in AFTER_SCORE if any(row.get(c) for row in cells)]
    shown = ["rank", "trials", label, *rest, *fields, *ALWAYS_LAST]
    names = [*(c for c in shown if c in there), *(c for c in there if c not in shown)]
    columns = [
        _describe(c, [row.get(c) for row in raw], is_field=c in fields, is_more=c not in shown)
        for c in names
    ]
    rows = [
        BoardRow(
            is_base=entry.trial.is_base,
            milestone_turns=entry.milestone_turns,
            trials=[t.id for t in entry.trials],
            cells={c: Cell(text=cells[i].get(c, ""), value=raw[i].get(c, "")) for c in names},
        )
        for i, entry in enumerate(entries)
    ]
    return Board(columns=columns, rows=rows)


def _describe(name: str, values: Sequence[Any], *, is_field: bool, is_more: bool) -> Column:
    known = [v for v in values if v is not None]
    is_numeric = bool(known) and all(isinstance(v, int | float) for v in known)
    kinds = ["number" if is_numeric else "text", *["field"] * is_field, *["more"] * is_more]
    is_falling = is_numeric and name not in LOW_FIRST
    return Column(
        name=name, kinds=" ".join(kinds), first="descending" if is_falling else "ascending"
    )
