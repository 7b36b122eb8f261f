"""Several sweeps side by side, as one page that a server gives out."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import accumulate
from string import Template
from urllib.parse import quote

import plotly.graph_objects as go

from analysis.compose import PAGE, read_scripts
from analysis.labels import label_objective
from analysis.plots.search import list_finished
from analysis.plots.style import make_figure
from analysis.ranking import rank_trials
from analysis.records import SweepRecords
from analysis.rows import format_value_of
from analysis.sections import show_figure
from analysis.verdict import find_verdict
from analysis.wording import state

COLUMNS = ("sweep", "state", "first", "score", "untuned", "what it says")
SCRIPTS = ("1_theme", "2_figures", "7_overview", "8_paper")
CAPTION = (
    "The best score of trials that trained longest, over the turns that all trials of the "
    "sweep had trained by then. Sweeps that were scored on other dialogues do not compare."
)


def compose_overview(sweeps: Sequence[SweepRecords]) -> str:
    """The page's HTML."""
    from plotly.offline import get_plotlyjs

    return Template((PAGE / "overview.html").read_text("utf-8")).substitute(
        title=escape(" · ".join(s.name for s in sweeps)),
        css=(PAGE / "page.css").read_text("utf-8"),
        js=read_scripts(SCRIPTS),
        columns="".join(f'<th scope="col" class="text">{name}</th>' for name in COLUMNS),
        rows="".join(_show_row(sweep) for sweep in sweeps),
        figure=show_figure("best", "The highest so far", CAPTION, draw_highest(sweeps).to_json()),
        plotly=get_plotlyjs(),
    )


def _show_row(records: SweepRecords) -> str:
    entries = rank_trials(records)
    first = next((e for e in entries if not e.trial.is_base), None)
    base = next((e for e in entries if e.trial.is_base), None)
    counts = ", ".join(f"{n} {state.lower()}" for state, n in records.count_states().items())
    verdict = find_verdict(records)
    cells = (
        f"{counts or 'no trials'} of {records.config.get('trials') or '?'}",
        first.trial.id if first else "",
        format_value_of(first) if first else "",
        format_value_of(base) if base else "",
        state(verdict)[0] if verdict else str(records.space.get("question") or ""),
    )
    name = records.folder.resolve().name
    link = f'<a href="/{quote(name)}/">{escape(records.name)}</a>'
    return f"<tr><td>{link}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def name_scale(sweeps: Sequence[SweepRecords]) -> str:
    return ", ".join(dict.fromkeys(label_objective(s.objective) for s in sweeps))


def draw_highest(sweeps: Sequence[SweepRecords]) -> go.Figure:
    traces = []
    for records in sweeps:
        steps, spent = list_finished(records)
        best = accumulate((step.score for step in steps), max)
        highest = [records.sign * score for score in best]
        traces.append(
            go.Scatter(
                x=[step.turns for step in steps] + [spent] * bool(steps),
                y=highest + highest[-1:],
                name=records.name,
                mode="lines+markers",
                line={"shape": "hv"},
            )
        )
    return make_figure(traces, x="system turns trained, all trials", y=name_scale(sweeps))
