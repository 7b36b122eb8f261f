"""The leaderboard of the report's page as HTML: each column, and a button that opens a trial."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from analysis.labels import label_objective
from analysis.ranking import Entry
from analysis.rows import searched_fields, to_cells, to_row
from trainable.result import OBJECTIVE

AFTER_SCORE = ("to first", "Bleu", "Success", "Inform", "Richness")
ALWAYS_LAST = ("trainable", "turns", "seeds", "state")


def show_board(entries: Sequence[Entry]) -> tuple[str, str]:
    """The leaderboard's header cells and rows."""
    cells = [to_cells(entry) for entry in entries]
    raw = [to_row(entry) for entry in entries]
    fields = searched_fields(entries)
    there = list(dict.fromkeys(name for row in cells for name in row))
    label = label_objective(next((e.objective for e in entries), OBJECTIVE))
    rest = [c for c in AFTER_SCORE if any(row.get(c) for row in cells)]
    shown = ["rank", "trials", label, *rest, *fields, *ALWAYS_LAST]
    columns = [*(c for c in shown if c in there), *(c for c in there if c not in shown)]
    numeric = {c for c in columns if _is_number_column([row.get(c) for row in raw])}
    kinds = {c: _name_kinds(c, fields, is_more=c not in shown) for c in columns}
    header = "".join(_show_header(c, c in numeric, kinds[c]) for c in columns)
    body = []
    for i, entry in enumerate(entries):
        row = "".join(
            _show_trials(entry)
            if c == "trials"
            else _show_cell(c, cells[i].get(c, ""), raw[i].get(c), c in numeric, kinds[c])
            for c in columns
        )
        kind = ' class="base"' if entry.trial.is_base else ""
        body.append(f'<tr{kind} data-level="{entry.level_turns}">{row}</tr>')
    return header, "".join(body)


def _name_kinds(column: str, fields: Sequence[str], *, is_more: bool) -> list[str]:
    """A column's classes: one of what is searched, or one that is shown where all are."""
    return ["field"] * (column in fields) + ["more"] * is_more


def _is_number_column(values: Sequence[Any]) -> bool:
    known = [v for v in values if v is not None]
    return bool(known) and all(isinstance(v, int | float) for v in known)


def _show_header(name: str, numeric: bool, kinds: Sequence[str]) -> str:
    kinds = ["number"] * numeric + [*kinds]
    first = "descending" if numeric and name not in ("rank", "trainable", "params") else "ascending"
    return (
        f'<th scope="col" class="{" ".join(kinds)}" data-first="{first}" '
        f'data-name="{escape(name)}"><button type="button">{escape(name)}</button></th>'
    )


def _show_trials(entry: Entry) -> str:
    ids = [t.id for t in entry.trials]
    buttons = " ".join(
        f'<button type="button" class="open" data-trial="{escape(i)}">{escape(i)}</button>'
        for i in ids
    )
    return f'<td class="text" data-value="{escape(" ".join(ids))}">{buttons}</td>'


def _show_cell(name: str, text: str, value: Any, numeric: bool, kinds: Sequence[str]) -> str:
    kinds = ["number" if numeric else "text", *kinds]
    shown = escape(text)
    if name == "state":
        shown = f'<span class="state {shown}">{shown.lower()}</span>'
    title = f' title="{escape(text)}"' if len(text) > 24 else ""
    known = "" if value is None else escape(str(value))
    return f'<td class="{" ".join(kinds)}" data-value="{known}"{title}>{shown}</td>'
