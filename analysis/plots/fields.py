"""Figures of the searched fields: parallel coordinates, slices, contour, importance. Scores are
compared at one milestone, named on the axis."""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from analysis.curves import are_alike, common_turns, is_lower_better, name_scores, scores_at
from analysis.importance import MIN_TRIALS, measure_importance, varying_fields
from analysis.labels import abbreviate, count_things, format_value, label_objective, label_params
from analysis.plots.style import BLUE, PALETTE, SCALE, NothingToPlot, make_figure
from analysis.records import SweepRecords, TrialRecord

MOST_CHARACTERS = 13  # of a value, as many as stand beside the first axis
ABSENT = "–"


def plot_importance(records: SweepRecords) -> go.Figure:
    """How much of the variance of the objective (or of the loss, where rungs decide by it) each
    field accounts for (fANOVA), among trials at equal training: none where trees that had not seen
    a trial explain little of it."""
    turns = common_turns(records)
    measured = measure_importance(records, turns)
    if measured is None:
        there = count_things(len(scores_at(records, turns)), "trial")
        raise NothingToPlot(
            f"{there} at equal training; importance needs {MIN_TRIALS}, two fields that vary, and "
            "scores that depend on them"
        )
    bar = go.Bar(
        y=list(measured.shares)[::-1],
        x=[100 * share for share in measured.shares.values()][::-1],
        orientation="h",
        marker_color=BLUE,
        hovertemplate="%{y}: %{x:.0f} %<extra></extra>",
    )
    where = f"importance, % ({measured.n_trials} trials at {turns} turns)"
    return make_figure([bar], x=where)


def plot_parallel(records: SweepRecords) -> go.Figure:
    """Every trial as a line through its values, coloured by what compares them at equal
    training."""
    trials, scores, turns = _compared(records)
    axes = [_make_axis(name, trials) for name in varying_fields(trials)]
    axes.append({"label": name_scores(records, turns), "values": scores})
    line = {"color": scores, "colorscale": SCALE, "showscale": True}
    line["reversescale"] = is_lower_better(records, turns)
    figure = make_figure([go.Parcoords(line=line, dimensions=axes)])
    margin = {"t": 48, "l": 70, "r": 40, "b": 24}
    return figure.update_layout(margin=margin, meta={"min_width": 130 * len(axes)})


def _compared(records: SweepRecords) -> tuple[list[TrialRecord], list[float], int]:
    """The trials that got to the common rung, with their values there."""
    turns = common_turns(records)
    scores = scores_at(records, turns)
    trials = [t for t in records.searched if t.id in scores]
    if len(trials) < 2 or not varying_fields(trials):
        raise NothingToPlot("needs two trials at equal training and a field that varies")
    return trials, [scores[t.id] for t in trials], turns


def is_numeric(values: Sequence[Any]) -> bool:
    """Whether values span a scale, not a choice (booleans and few distinct ones are choices)."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    return len(numbers) == len(values) and len(set(values)) > 5


def is_logarithmic(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) >= 50


def _sort_choices(values: Sequence[Any]) -> list[Any]:
    """Numbers in their order, then texts, then nothing."""

    def place(value: Any) -> tuple[int, float, str]:
        if isinstance(value, int | float):
            return 0, float(value), ""
        return (1, 0.0, value) if isinstance(value, str) else (2, 0.0, str(value))

    return sorted(set(values), key=place)


def _make_axis(name: str, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """One of parcoords' dimensions. A field that does not exist for a trial lies at `–`."""
    present = [t.params[name] for t in trials if name in t.params]
    if not is_numeric(present):
        choices = _sort_choices(present)
        labels = [abbreviate(format_value(v), MOST_CHARACTERS) for v in choices]
        places: dict[Any, float] = {v: float(i) for i, v in enumerate(choices)}
        ticks = list(places.values())
    else:
        scale = math.log10 if is_logarithmic(present) else float
        places = {v: scale(v) for v in present}
        low, high = min(places.values()), max(places.values())
        ticks = [low + (high - low) * k / 4 for k in range(5)]
        labels = [f"{10**t if scale is math.log10 else t:.2g}" for t in ticks]
    if len(present) < len(trials):
        span = max(ticks) - min(ticks) or 1.0
        absent = min(ticks) - 0.25 * span
        ticks, labels = [absent, *ticks], [ABSENT, *labels]
    else:
        absent = 0.0
    values = [places[t.params[name]] if name in t.params else absent for t in trials]
    return {"label": name, "values": values, "tickvals": ticks, "ticktext": labels}


def plot_slices(records: SweepRecords) -> go.Figure:
    """What compares trials at equal training (the objective, or the loss where rungs decide by it)
    against each field on its own, side by side."""
    trials, scores, turns = _compared(records)
    names = varying_fields(trials)
    figure = make_figure([], y="")
    width = 1 / len(names)
    for i, name in enumerate(names):
        pairs = [(t, s) for t, s in zip(trials, scores, strict=True) if name in t.params]
        values = [t.params[name] for t, _ in pairs]
        numeric = is_numeric(values)
        suffix = "" if i == 0 else str(i + 1)
        figure.add_scatter(
            x=values if numeric else [format_value(v) for v in values],
            y=[s for _, s in pairs],
            text=[f"{t.id}: {label_params(t.params)}" for t, _ in pairs],
            xaxis=f"x{suffix}",
            mode="markers",
            marker={"size": 7, "opacity": 0.6, "color": PALETTE[i % len(PALETTE)]},
            hovertemplate="%{x}: %{y:.4g}<br>trial %{text}<extra></extra>",
        )
        domain = [i * width + 0.015, (i + 1) * width - 0.015]
        scale = "log" if numeric and is_logarithmic(values) else None if numeric else "category"
        axis: dict[str, Any] = {
            "domain": domain,
            "type": scale,
            "title": {"text": name},
            "automargin": True,
        }
        if not numeric:
            choices = [format_value(v) for v in _sort_choices(values)]
            axis |= {"categoryorder": "array", "categoryarray": choices, "dtick": 1}
        figure.update_layout({f"xaxis{suffix}": {"nticks": 4, "tickangle": -35, **axis}})
    figure.update_xaxes(gridcolor="rgba(128,128,128,0.25)", zeroline=False)
    figure.update_yaxes(title_text=f"{name_scores(records, turns)} turns")
    return figure.update_layout(showlegend=False, meta={"min_width": 170 * len(names)})


def plot_contour(records: SweepRecords) -> go.Figure:
    """The best value by learning rate and by how long was trained. Compare within a row: each
    was scored on dialogues of its own."""
    trials = [
        t
        for t in records.scored
        if isinstance(t.params.get("learning_rate"), int | float) and t.params["learning_rate"] > 0
    ]
    if not are_alike(trials):
        raise NothingToPlot("schedules or batch sizes differ, and stand at different points early")
    points = [
        (math.log10(t.params["learning_rate"]), records.milestone_turns(e.turns_seen), e.score)
        for t in trials
        for e in t.replied
    ]
    levels = sorted({level for _, level, _ in points})
    rates = sorted({rate for rate, _, _ in points})
    if len(levels) < 2 or len(rates) < 4:
        raise NothingToPlot("needs four learning rates, and replies at two lengths of training")
    n_bins = min(10, len(rates) // 2)
    low, step = rates[0], (rates[-1] - rates[0]) / n_bins
    grid: list[list[float | None]] = [[None] * n_bins for _ in levels]
    for rate, level, score in points:
        row, column = grid[levels.index(level)], min(n_bins - 1, int((rate - low) / step))
        known = row[column]
        row[column] = score if known is None else max(score, known)
    grid = [[None if s is None else records.sign * s for s in row] for row in grid]
    centres = [10 ** (low + (i + 0.5) * step) for i in range(n_bins)]
    contour = go.Heatmap(
        x=centres,
        y=[str(level) for level in levels],
        z=grid,
        colorscale=SCALE,
        colorbar={"title": {"text": label_objective(records.objective)}},
        hovertemplate="learning rate %{x:.2g}, %{y} turns: %{z:.1f}<extra></extra>",
    )
    dots = go.Scatter(
        x=[10**rate for rate, _, _ in points],
        y=[str(level) for _, level, _ in points],
        mode="markers",
        marker={"size": 4, "color": "white", "line": {"width": 1, "color": BLUE}},
        hoverinfo="skip",
        showlegend=False,
    )
    figure = make_figure([contour, dots], x="learning rate", y="system turns trained on")
    return figure.update_xaxes(type="log").update_yaxes(type="category")
