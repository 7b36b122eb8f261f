"""The leaderboard: the lab's columns, the official board's, what was searched, and the noise."""

import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from analysis.labels import (
    format_count,
    format_rate,
    format_score,
    format_signed,
    format_value,
    label_objective,
    to_markdown,
)
from analysis.ranking import METRICS, Entry, rank_trials, searched_fields
from analysis.records import EvalRecord, SweepRecords, read_sweep
from analysis.rows import BOARDS, PLACEHOLDERS, format_cell, to_cells, to_csv, to_parquet, to_row
from analysis.standing import DIALOGUES
from analysis.verdict import Verdict, find_verdict, tabulate
from analysis.wording import state
from trainable.system.whole import write_whole

LOSS = "nats a word"  # shown where some have no Combined
AFTER_SCORE = (
    *(LOSS, "to first", "Bleu", "Inform", "Success", "Richness"),
    *("searched", "trainable", "turns"),
)
WIDE_ONLY = ("Richness", "trainable")  # left out of a narrow terminal


def write_leaderboard(folder: Path) -> None:
    """Writes leaderboard.md, .csv and .parquet into the sweep's folder, each whole. Raises
    ConfigError when the folder is no sweep's."""
    records = read_sweep(folder)
    entries = rank_trials(records)
    rows = [to_row(entry) for entry in entries]
    write_whole(folder / "leaderboard.md", render_markdown(records, entries).encode())
    write_whole(folder / "leaderboard.csv", to_csv(rows).encode())
    write_whole(folder / "leaderboard.parquet", to_parquet(rows))


def render(source: Path | SweepRecords, *, width: int = 100, top: int = 15) -> str:
    """The verdict, and a readable table of the first `top` configurations, for a terminal of that
    width."""
    records = read_sweep(source) if isinstance(source, Path) else source
    entries = rank_trials(records)
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    if not entries:
        return describe(records, entries)
    if verdict := find_verdict(records):
        _print_verdict(console, verdict)
    fields = searched_fields(entries)
    table = Table(title=f"{records.name}: the leaderboard", box=None, padding=(0, 1, 0, 0))
    columns = list_columns(records, entries, width)
    for name in columns:
        if name == "searched":
            table.add_column(" · ".join(fields), overflow="fold", min_width=18)
        else:
            justify = "left" if name == "trial" else "right"
            table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    shown = [e for e in entries if e.rank <= top or e.trial.is_base]
    for entry, following in zip(shown, [*shown[1:], None], strict=True):
        is_last = following is None or following.milestone_turns != entry.milestone_turns
        cells = _terminal_cells(entry, fields)
        table.add_row(*(cells.get(name, "") for name in columns), end_section=is_last)
    console.print(table)
    if len(entries) > len(shown):
        rest = len(entries) - len(shown)
        console.print(f"... and {rest} more in leaderboard.md", highlight=False)
    console.print(describe(records, entries), highlight=False)
    return str(console.file.getvalue()).rstrip()  # type: ignore[attr-defined]


def list_columns(records: SweepRecords, entries: Sequence[Entry], width: int) -> list[str]:
    """Of a terminal: the objective first, then what else some entry has."""
    label = label_objective(records.objective)
    empty = {m.capitalize() for m in METRICS[:3] if all(e.mean(m) is None for e in entries)}
    if all(entry.value is not None for entry in entries):
        empty.add(LOSS)
    if width < 110:
        empty.update(WIDE_ONLY)
    rest = (c for c in AFTER_SCORE if c not in empty and c.lower() != label.lower())
    return ["#", "trial", label, *rest]


def describe(records: SweepRecords, entries: Sequence[Entry]) -> str:
    """What the figures mean: one sentence a line."""
    if not entries:
        states = records.describe_states() or "no trials"
        lines = [f"{records.name}: no trial has a score yet ({states})."]
        return "\n".join([*lines, *show_warnings(records)])
    first = entries[0].evals[0]
    lines = [
        f"Scored on {first.n_dialogues} {first.split} dialogues{describe_objective(first)}. "
        "Richness: type-token ratio over windows of 50 tokens.",
        "Ranked at equal training: who trained longer comes first, and distances from the first "
        "are taken at the same number of turns.",
        *_describe_intervals(entries),
    ]
    if all(e.trial.config.get("earlier_replies") == "own" for e in entries):
        lines.insert(1, "Every reply follows the model's own earlier ones, not the corpus's.")
    if any(e.is_confirmed for e in entries):
        lines.append(
            "Confirmed: scored again with fresh seeds on all validation dialogues, which the "
            "search had no part in choosing; these come first, and only they are compared."
        )
    lines += describe_placeholders(entries[0])
    if records.is_running:
        lines.append("The sweep has not ended: this is a partial result.")
    return "\n".join([*lines, *show_warnings(records)])


def describe_objective(first: EvalRecord) -> str:
    """How the score of an evaluation is to be read."""
    if first.objective is None:
        board = BOARDS.get(first.states, first.states)
        formula = "Combined = (Inform + Success)/2 + BLEU"
        return f" with {first.states} states ({board} board); {formula}"
    lower = " (lower is better; distances below zero are worse)" if first.sign < 0 else ""
    return f" by {label_objective(first.name)}{lower}"


def show_warnings(records: SweepRecords) -> list[str]:
    return [f"Note: {w}." for w in records.warnings]


def describe_placeholders(best: Entry) -> list[str]:
    """Whether the best's score was bought with placeholders; nothing where none were counted."""
    figures = {key: best.mean_of("placeholders", key) for key in PLACEHOLDERS.values()}
    known = {key: value for key, value in figures.items() if value is not None}
    if len(known) < len(figures):
        return []
    line = (
        "The first in rank has {per_reply:.2f} placeholders a reply, the corpus "
        "{corpus_per_reply:.2f}; turn by turn against the corpus's: precision {precision:.1f}, "
        "recall {recall:.1f}, F1 {f1:.1f}."
    ).format(**known)
    bias, score = (best.mean_of("calibrated", name) for name in ("bias", "combined"))
    if bias is not None and score is not None:
        line += f" Under placeholder_bias {bias:g} it has Combined {score:.1f} (--calibrate)."
    return [line]


def _describe_intervals(entries: Sequence[Entry]) -> list[str]:
    """What ± holds, and what a difference's mark means."""
    trained = [e for e in entries if not e.trial.is_base]
    held = list(dict.fromkeys(e.holds for e in trained if e.holds))
    lines = []
    if held:
        over = [f"{h} alone" if h == DIALOGUES else h for h in held]
        noise = " or, where no seeds are repeated, over ".join(over)
        lines.append(f"± is half a 95 % interval over {noise}.")
    if any(e.is_behind is not None for e in entries):
        lines.append("~: not significant (95 %, corrected for the number of comparisons).")
    elif (
        entries[0].milestone_turns and len(trained) > 1 and {len(e.trials) for e in trained} == {1}
    ):
        lines.append("One seed each: differences between rows cannot be tested.")
    return lines


def render_markdown(records: SweepRecords, entries: Sequence[Entry]) -> str:
    """The whole leaderboard as Markdown."""
    rows = [to_cells(entry) for entry in entries]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = [columns, *([row.get(c, "") for c in columns] for row in rows)]
    failed = [f"Failed: {t.id}: {t.reason}" for t in records.trials if t.state == "FAIL"]
    blocks = [
        f"# {records.name}",
        str(records.space.get("question") or ""),
        *render_verdict(records),
        to_markdown(table) if rows else "",
        *describe(records, entries).splitlines(),
        *failed,
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def render_verdict(records: SweepRecords) -> list[str]:
    """Markdown: the verdict's sentences, then its table."""
    verdict = find_verdict(records)
    if verdict is None:
        return []
    rows = tabulate(verdict)
    table = to_markdown([list(rows[0]), *(list(row.values()) for row in rows)])
    return ["## The answer", *state(verdict), table, "## The leaderboard"]


def _print_verdict(console: Console, verdict: Verdict) -> None:
    console.print(verdict.question, style="bold", highlight=False)
    for sentence in state(verdict):
        console.print(sentence, highlight=False)
    if verdict.asked:  # else the leaderboard has the same rows
        rows = tabulate(verdict)
        table = Table(box=None, padding=(0, 2, 0, 0))
        for name in rows[0]:
            is_text = name in (verdict.asked, "with")
            table.add_column(name, justify="left" if is_text else "right", overflow="fold")
        for row in rows:
            table.add_row(*row.values())
        console.print(table)
    console.print()


def _terminal_cells(entry: Entry, fields: list[str]) -> dict[str, str]:
    resolved, params = entry.trial.resolved, entry.trial.params
    richness, spread = entry.mean_richness("msttr"), entry.combined_interval
    seeds = f" x{len(entry.trials)}" if len(entry.trials) > 1 else ""
    seeds += " confirmed" if entry.is_confirmed else ""
    values = [format_value(params[name]) if name in params else "–" for name in fields]
    mark = "~" if entry.is_behind is False else ""
    digits = entry.digits
    half = f" ±{(spread[1] - spread[0]) / 2:.{digits}f}" if spread else ""
    behind = entry.behind_first
    return {
        "#": str(entry.rank),
        "trial": entry.trial.id + seeds,
        LOSS: format_cell(LOSS, entry.mean("nats_per_word")),
        label_objective(entry.objective): format_score(entry.value, entry.objective) + half,
        "to first": "" if behind is None else mark + format_signed(behind, digits),
        **{metric.capitalize(): format_rate(entry.mean(metric)) for metric in METRICS[:3]},
        "Richness": "" if richness is None else f"{richness:.2f}",
        "searched": "untuned" if entry.trial.is_base else " · ".join(values),
        "trainable": format_count(resolved.trainable_params if resolved else None),
        "turns": str(entry.milestone_turns),
    }
