"""Figures of one good against another: cost, size, BLEU against Success."""

import math
from collections import defaultdict
from collections.abc import Iterable

import plotly.graph_objects as go

from analysis.curves import measure_gpu_hours, name_hours
from analysis.labels import format_count, label_objective, label_params
from analysis.plots.style import GREY, ORANGE, NothingToPlot, make_figure
from analysis.ranking import Entry, rank_trials
from analysis.records import SweepRecords, TrialRecord


def plot_pareto(records: SweepRecords) -> go.Figure:
    """What each trial cost against its value. The line joins trials that were scored on the most
    dialogues: each is better than all of them that were cheaper."""
    hours = measure_gpu_hours(records.trials)
    points = sorted(
        (hours[t.id], t.replied[-1].score, t) for t in records.scored if hours[t.id] > 0
    )
    if not points:
        raise NothingToPlot("no trial has recorded how long it took")
    most = max(t.replied[-1].n_dialogues for _, _, t in points)
    front: list[tuple[float, float, TrialRecord]] = []
    for point in points:
        is_comparable = point[2].replied[-1].n_dialogues == most
        if is_comparable and (not front or point[1] > front[-1][1]):
            front.append(point)
    unit = name_hours(records.trials)
    hover = f"%{{text}}<br>%{{x:.3g}} {unit}: %{{y:.1f}}<extra></extra>"
    traces = [
        go.Scatter(
            x=[p[0] for p in chosen],
            y=[p[2].replied[-1].value for p in chosen],
            text=[f"trial {p[2].id}: {label_params(p[2].params)}" for p in chosen],
            name=name,
            mode=mode,
            line={"shape": "hv", "color": ORANGE},
            marker={"size": 8, "color": colour},
            hovertemplate=hover,
        )
        for chosen, name, mode, colour in (
            (points, "trials", "markers", GREY),
            (front, "best for the cost", "lines+markers", ORANGE),
        )
    ]
    figure = make_figure(traces, x=f"{unit} of the trial", y=label_objective(records.objective))
    return figure.update_xaxes(exponentformat="none")


def plot_parameters(records: SweepRecords, *, count: str = "trainable_params") -> go.Figure:
    """The score against the number of parameters (the trainable ones, or the model's), among the
    trials that trained longest, with 95 % intervals."""
    ranked = [e for e in rank_trials(records) if not e.trial.is_base]
    entries = [e for e in ranked if e.value is not None]
    level = max((e.milestone_turns for e in entries), default=0)
    entries = [e for e in entries if e.milestone_turns == level and e.trial.resolved]
    if any(e.is_confirmed for e in entries):  # the others were scored on other dialogues
        entries = [e for e in entries if e.is_confirmed]
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        config = entry.trial.config
        name = "base_model" if count == "total_params" else "lora_modules"
        groups[str(config.get(name) or config.get("method"))].append(entry)
    if len({getattr(e.trial.resolved, count) for e in entries}) < 2:
        raise NothingToPlot("all trials that trained longest have the same number of parameters")
    traces = [
        go.Scatter(
            x=[getattr(e.trial.resolved, count) for e in members],
            y=[e.value for e in members],
            error_y=_make_error_bars(members),
            text=[f"trial {e.trial.id}: {label_params(e.trial.params)}" for e in members],
            name=name,
            mode="markers",
            marker={"size": 9},
            hovertemplate="%{text}<br>%{x} parameters: %{y:.1f}<extra></extra>",
        )
        for name, members in sorted(groups.items())
    ]
    title = "parameters of the model" if count == "total_params" else "trainable parameters"
    figure = make_figure(
        traces, x=title, y=f"{label_objective(records.objective)} at {level} turns"
    )
    ticks = choose_ticks([getattr(e.trial.resolved, count) for e in entries])
    return figure.update_xaxes(type="log", tickvals=ticks, ticktext=[*map(format_count, ticks)])


def choose_ticks(counts: Iterable[int]) -> list[int]:
    """The counts themselves, without those that would stand too near another on a log axis.

    >>> choose_ticks([1000, 1010, 2000, 8000, 2000])
    [1000, 2000, 8000]
    """
    first, *others = sorted(set(counts))
    ticks, span = [first], math.log(max(others, default=first) / first)
    for count in others:
        if math.log(count / ticks[-1]) >= span / 8:
            ticks.append(count)
    return ticks


def _make_error_bars(entries: list[Entry]) -> dict[str, object]:
    spreads = [(e.value or 0.0, e.combined_interval) for e in entries]
    return {
        "type": "data",
        "symmetric": False,
        "array": [s[1] - mean if s else 0.0 for mean, s in spreads],
        "arrayminus": [mean - s[0] if s else 0.0 for mean, s in spreads],
        "thickness": 1,
        "width": 3,
    }


def plot_bleu_success(records: SweepRecords) -> go.Figure:
    """BLEU against Success: fluency and task success need not agree. One colour a rung."""
    entries = [e for e in rank_trials(records) if e.mean("success") is not None]
    if not entries:
        raise NothingToPlot("no trial has both scores")
    levels = sorted({e.milestone_turns for e in entries}, reverse=True)
    traces = []
    for level in levels:
        members = [e for e in entries if e.milestone_turns == level]
        traces.append(
            go.Scatter(
                x=[e.mean("bleu") for e in members],
                y=[e.mean("success") for e in members],
                text=[f"trial {e.trial.id}: {label_params(e.trial.params)}" for e in members],
                name=_name_level(level, members),
                mode="markers",
                marker={"size": 9, "opacity": 0.75},
                hovertemplate="%{text}<br>BLEU %{x:.1f}, Success %{y:.1f}<extra></extra>",
            )
        )
    return make_figure(traces, x="BLEU", y="Success")


def _name_level(level: int, members: Iterable[Entry]) -> str:
    if level:
        return f"{level} turns"
    return "untuned" if all(e.trial.is_base for e in members) else "nothing trained"
