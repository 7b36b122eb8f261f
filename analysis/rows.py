"""A configuration as a row: values for the files, text for a reader."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from analysis.labels import (
    LABELS,
    format_count,
    format_share,
    format_signed,
    format_value,
    label_modules,
    label_objective,
)
from analysis.ranking import Entry

if TYPE_CHECKING:
    import pandas as pd

# the official board's column -> name in EvalResult.richness (evaluation spec, section 7)
BOARD_COLUMNS = {
    "Av. len.": "avg_lengths",
    "CBE": "cond_entropy",
    "#uniq. words": "num_unigrams",
    "#uniq. 3-grams": "num_trigrams",
}
# column -> name in EvalResult.placeholders
PLACEHOLDERS = {
    "placeholders a reply": "per_reply",
    "the corpus's": "corpus_per_reply",
    "placeholder precision": "precision",
    "placeholder recall": "recall",
    "placeholder F1": "f1",
}
PERCENTAGES = ("Bleu", "Success", "Inform", "distinct replies")
BOARDS = {"gold": "policy optimisation", "predicted": "end-to-end"}
Row = dict[str, Any]


def to_row(entry: Entry) -> Row:
    """One configuration as the values of the CSV and Parquet files. A field that has no meaning
    for it is missing."""
    first, trial, resolved = entry.evals[0], entry.trial, entry.trial.resolved
    low, high = entry.combined_interval or (None, None)
    behind_low, behind_high = entry.behind_interval or (None, None)
    label = label_objective(entry.objective)
    row: Row = {
        "rank": entry.rank,
        "trials": " ".join(t.id for t in entry.trials),
        "LLM model": trial.config.get("base_model"),
        "params": resolved.total_params if resolved else None,
        **{metric.capitalize(): entry.mean(metric) for metric in ("bleu", "success", "inform")},
        **list_placeholders(entry),
        "Richness": entry.mean_richness("msttr"),
        "distinct replies": entry.mean("distinct_replies"),
        label: entry.value,
        f"{label} low": low,
        f"{label} high": high,
        **list_metrics(entry),
        "interval holds": entry.holds,
        "to first": entry.behind_first,
        "to first low": behind_low,
        "to first high": behind_high,
        "is behind": entry.is_behind,
        "P(best)": entry.chance,
        **{column: entry.mean_richness(name) for column, name in BOARD_COLUMNS.items()},
        **({"joint accuracy": first.dst.get("joint_accuracy")} if first.dst else {}),
        **{k: v for k, v in trial.params.items() if k != "seed"},
        "trainable": resolved.trainable_params if resolved else None,
        "modules": label_modules(trial),
        "turns": entry.milestone_turns,
        "nats a word": entry.mean("nats_per_word"),
        "seeds": len(entry.trials),
        "confirmed": entry.is_confirmed,
        "state": entry.state,
        "split": first.split,
        "dialogues": first.n_dialogues,
        "states": first.states,
        "board": BOARDS.get(first.states, first.states),
    }
    return row


def list_metrics(entry: Entry) -> Row:
    """What was measured beside an objective that is not Combined, by its own name."""
    names = dict.fromkeys(name for e in entry.evals for name in e.metrics or ())
    shown = [name for name in names if name not in (entry.objective, "bleu")]
    return {label_objective(name): entry.mean_of("metrics", name) for name in shown}


def list_placeholders(entry: Entry) -> Row:
    """What the replies offer beside the corpus's own, and what one fixed bias makes of the score;
    nothing where it was not measured."""
    columns = {name: entry.mean_of("placeholders", key) for name, key in PLACEHOLDERS.items()}
    columns["Combined calibrated"] = entry.mean_of("calibrated", "combined")
    return {name: value for name, value in columns.items() if value is not None}


def to_cells(entry: Entry) -> dict[str, str]:
    """One configuration as text for a reader, column by column; empty where nothing is known."""
    label = label_objective(entry.objective)
    merged = {f"{label} low", f"{label} high", "to first low", "to first high", "is behind"}
    row = to_row(entry)
    cells = {k: format_cell(k, v) for k, v in row.items() if k not in merged}
    return {**cells, label: format_value_of(entry), "to first": format_behind(entry)}


def format_value_of(entry: Entry) -> str:
    """`81.2 [77.0, 85.1]`"""
    low_high, digits = entry.combined_interval, entry.digits
    if entry.value is None:
        return ""
    value = f"{entry.value:.{digits}f}"
    low, high = low_high or (0.0, 0.0)
    return f"{value} [{low:.{digits}f}, {high:.{digits}f}]" if low_high else value


def format_behind(entry: Entry) -> str:
    """`-2.1 [-4.0, -0.3]`, with a `~` in front where it is not significant."""
    if entry.behind_first is None:
        return ""
    value, digits = format_signed(entry.behind_first, entry.digits), entry.digits
    if entry.behind_interval:
        low, high = entry.behind_interval
        value += f" [{format_signed(low, digits)}, {format_signed(high, digits)}]"
    return f"~ {value}" if entry.is_behind is False else value


def format_cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in ("params", "trainable"):
        return format_count(value)
    if name == "nats a word":
        return f"{value:.3f}"
    if name in (*PERCENTAGES, "Av. len.", "Combined calibrated", *LABELS.values()):
        return f"{value:.1f}"
    if name in ("#uniq. words", "#uniq. 3-grams"):
        return f"{value:.0f}"
    if name == "P(best)":
        return format_share(value)
    if name == "confirmed":
        return "yes" if value else ""
    return f"{value:.2f}" if name in ("Richness", "CBE", *PLACEHOLDERS) else format_value(value)


def to_frame(entries: Sequence[Entry]) -> pd.DataFrame:
    """The rows as a table for a notebook, best first; empty columns are left out."""
    import pandas as pd

    frame = pd.DataFrame([to_cells(entry) for entry in entries]).fillna("")
    return frame.loc[:, (frame != "").any()].set_index("rank")


FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def to_csv(rows: list[Row]) -> str:
    """Texts that a spreadsheet would compute have a `'` in front, which it takes for a text's mark
    (https://owasp.org/www-community/attacks/CSV_Injection)."""
    safe = [{neutralise(name): neutralise(value) for name, value in row.items()} for row in rows]
    columns = list(dict.fromkeys(name for row in safe for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(safe)
    return text.getvalue()


def neutralise(value: Any) -> Any:
    """
    >>> neutralise("=1+1"), neutralise(-2.5)
    ("'=1+1", -2.5)
    """
    is_formula = isinstance(value, str) and value.lstrip().startswith(FORMULA_STARTS)
    return f"'{value}" if is_formula else value


def to_parquet(rows: list[Row]) -> bytes:
    """The rows as a Parquet file; a field that a row lacks is null there."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = dict.fromkeys(name for row in rows for name in row)
    arrays = {name: _to_array([row.get(name) for row in rows]) for name in columns}
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(arrays), sink)
    return sink.getvalue().to_pybytes()


def _to_array(values: list[Any]) -> Any:
    """A column; values of different kinds (a rank or a name) become text."""
    import pyarrow as pa

    kinds = {type(v) for v in values if v is not None}
    if kinds == {int, float}:
        values = [None if v is None else float(v) for v in values]
    elif len(kinds) > 1:
        values = [None if v is None else str(v) for v in values]
    return pa.array(values)
