"""Several sweeps side by side, as one page that a server gives out."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import plotly.graph_objects as go

from analysis.labels import label_objective
from analysis.plots.search import list_finished
from analysis.plots.style import make_figure
from analysis.ranking import rank_trials
from analysis.records import SweepRecords
from analysis.rows import format_value_of
from analysis.sections import DrawnFigure
from analysis.templates import embed, read_plotly, read_scripts, read_style, render
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
    data = embed(draw_highest(sweeps).to_json())
    return render(
        "overview",
        title=" · ".join(s.name for s in sweeps),
        css=read_style(),
        js=read_scripts(SCRIPTS),
        columns=COLUMNS,
        rows=[_spell_row(sweep) for sweep in sweeps],
        drawn=DrawnFigure(id="best", title="The highest so far", caption=CAPTION, data=data),
        plotly=read_plotly(),
    )


def _spell_row(records: SweepRecords) -> dict[str, Any]:
    entries = rank_trials(records)
    first = next((e for e in entries if not e.trial.is_base), None)
    base = next((e for e in entries if e.trial.is_base), None)
    counts = records.describe_states()
    verdict = find_verdict(records)
    cells = (
        f"{counts or 'no trials'} of {records.config.get('trials') or '?'}",
        first.trial.id if first else "",
        format_value_of(first) if first else "",
        format_value_of(base) if base else "",
        state(verdict)[0] if verdict else str(records.space.get("question") or ""),
    )
    return {"folder": records.folder.resolve().name, "name": records.name, "cells": cells}


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
    scale = ", ".join(dict.fromkeys(label_objective(s.objective) for s in sweeps))
    return make_figure(traces, x="system turns trained, all trials", y=scale)
