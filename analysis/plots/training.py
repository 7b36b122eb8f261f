"""Figures over training and time: curves, history, the race, the timeline."""

from __future__ import annotations

from collections import defaultdict

import plotly.graph_objects as go

from analysis.curves import best_so_far, count_rungs, find_lanes, gpu_of
from analysis.labels import label_params
from analysis.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SLATE,
    STATE_COLOURS,
    STATE_SYMBOLS,
    NothingToPlot,
    join_lines,
    make_figure,
)
from analysis.ranking import rank_trials
from analysis.records import STATES, EvalRecord, SweepRecords, TrialRecord

NAMED_COLOURS = (ORANGE, GREEN, PURPLE)  # of the best trials' curves, the best first


def plot_curves(records: SweepRecords) -> go.Figure:
    """Combined over turns: the best by name, the stopped ones grey."""
    scored = [t for t in records.scored if not t.is_base]
    if not scored:
        raise NothingToPlot("no trial has a score yet")
    best = [e.trial for e in rank_trials(records) if not e.trial.is_base][: len(NAMED_COLOURS)]
    named = {t.id for t in best}
    pruned = [t for t in scored if t.state == "PRUNED" and t.id not in named]
    others = [t for t in scored if t.state != "PRUNED" and t.id not in named]
    traces = [
        _draw_many(pruned, "stopped early", GREY, 1.0),
        _draw_many(others, "went on", BLUE, 1.0),
        *(_draw_one(trial, colour) for trial, colour in zip(best, NAMED_COLOURS, strict=False)),
    ]
    figure = make_figure([t for t in traces if t], x="system turns trained on", y="Combined")
    for base in (t for t in records.scored if t.is_base):
        figure.add_hline(
            y=base.replied[-1].combined, line_dash="dot", line_color=RED, annotation_text="untuned"
        )
    return figure


def _draw_many(
    trials: list[TrialRecord], name: str, colour: str, width: float
) -> go.Scatter | None:
    if not trials:
        return None
    return go.Scatter(
        x=join_lines([[e.turns_seen for e in t.replied] for t in trials]),
        y=join_lines([[e.score for e in t.replied] for t in trials]),
        text=join_lines([[t.id] * len(t.replied) for t in trials]),
        name=f"{name} ({len(trials)})",
        mode="lines+markers",
        line={"color": colour, "width": width},
        marker={"size": 4},
        opacity=0.7,
        hovertemplate="trial %{text}<br>%{x} turns: %{y:.1f}<extra></extra>",
    )


def _draw_one(trial: TrialRecord, colour: str) -> go.Scatter:
    return go.Scatter(
        x=[e.turns_seen for e in trial.replied],
        y=[e.combined for e in trial.replied],
        name=trial.id,
        mode="lines+markers",
        line={"width": 3, "color": colour},
        hovertemplate=f"trial {trial.id}<br>{label_params(trial.params)}"
        "<br>%{x} turns: %{y:.1f}<extra></extra>",
    )


def plot_history(records: SweepRecords) -> go.Figure:
    """Each trial's last Combined in the order of proposal, and the best so far. The size of a mark
    tells how far the trial trained: only marks of one size compare."""
    scored = [t for t in records.scored if not t.is_base]
    if not scored:
        raise NothingToPlot("no trial has a score yet")
    levels = records.levels_turns
    traces = []
    for state in STATES:
        trials = [t for t in scored if t.state == state]
        if not trials:
            continue
        stations = [levels.index(records.level_turns(t.replied[-1].turns_seen)) for t in trials]
        traces.append(
            go.Scatter(
                x=[t.number for t in trials],
                y=[t.replied[-1].combined for t in trials],
                text=[
                    f"{t.replied[-1].turns_seen} turns<br>{label_params(t.params)}" for t in trials
                ],
                name=state.lower(),
                mode="markers",
                marker={
                    "color": STATE_COLOURS[state],
                    "symbol": STATE_SYMBOLS[state],
                    "size": [5 + 2 * s for s in stations],
                    "line": {"width": 1.5, "color": STATE_COLOURS[state]},
                },
                hovertemplate="trial %{x}: %{y:.1f}<br>%{text}<extra></extra>",
            )
        )
    steps = sorted((t.number, e.score) for e, t in best_so_far(scored))
    highest = [max(score for n, score in steps if n <= number) for number, _ in steps]
    traces.append(
        go.Scatter(
            x=[n for n, _ in steps] + [max(t.number for t in scored)],
            y=[*highest, highest[-1]],
            name="best so far",
            mode="lines",
            line={"shape": "hv", "color": ORANGE, "width": 2},
        )
    )
    return make_figure(traces, x="trial, in the order of proposal", y="Combined")


def plot_funnel(records: SweepRecords) -> go.Figure:
    """How many trials reached each rung of the race, and how many were stopped there."""
    rungs = count_rungs(records.trials, [level for level in records.levels_turns if level])
    if not any(r.reached for r in rungs):
        raise NothingToPlot("no trial has reached a rung yet")
    names = [f"{r.turns} turns" for r in rungs]
    went_on = [r.reached - r.stopped for r in rungs]
    traces = [
        go.Bar(
            y=names, x=went_on, name="went on", orientation="h", text=went_on,
            marker_color=GREEN, hovertemplate="%{y}: %{x} went on<extra></extra>",
        ),
        go.Bar(
            y=names, x=[r.stopped for r in rungs], name="stopped here", orientation="h",
            text=[r.stopped or "" for r in rungs], marker_color=SLATE,
            textfont_color="white",
            hovertemplate="%{y}: %{x} stopped<extra></extra>",
        ),
    ]  # fmt: skip
    figure = make_figure(traces, x="trials", barmode="stack")
    return figure.update_yaxes(autorange="reversed")


def plot_timeline(records: SweepRecords) -> go.Figure:
    """What ran where and when: one row a slot of a GPU, one bar a stretch of training with its
    evaluation."""
    spans = [(t, e) for t in records.trials for e in t.evals if e.time_s > e.started_s > 0]
    if not spans:
        raise NothingToPlot("no evaluation has recorded where and when it was made")
    start, rows_of = min(e.started_s for _, e in spans), _name_rows([e for _, e in spans])
    traces = []
    for state in STATES:
        chosen = [(t, e) for t, e in spans if t.state == state]
        if not chosen:
            continue
        rows = [rows_of[id(e)] for _, e in chosen]
        traces.append(
            go.Bar(
                y=rows,
                base=[(e.started_s - start) / 60 for _, e in chosen],
                x=[(e.time_s - e.started_s) / 60 for _, e in chosen],
                text=[t.id for t, _ in chosen],
                customdata=[[e.turns_seen, _label_score(e)] for _, e in chosen],
                name=state.lower(),
                orientation="h",
                textposition="none",
                marker={"color": STATE_COLOURS[state], "line": {"width": 1, "color": "white"}},
                hovertemplate="trial %{text} to %{customdata[0]} turns: "
                "%{customdata[1]}<extra></extra>",
            )
        )
    figure = make_figure(traces, x="minutes since the start", barmode="overlay")
    return figure.update_yaxes(categoryorder="category descending")


def _label_score(evaluation: EvalRecord) -> str:
    if evaluation.combined is None:
        return f"{evaluation.nats_per_word or 0.0:.3f} nats a word"
    return f"Combined {evaluation.combined:.1f}"


def _name_rows(evals: list[EvalRecord]) -> dict[int, str]:
    """The row of each evaluation, by its identity: its slot, and a lane of it where several
    trials shared one (without a GPU there is one slot a machine)."""
    groups: dict[str, list[EvalRecord]] = defaultdict(list)
    for e in evals:
        node, gpu = gpu_of(e)
        device = "CPU" if e.place.get("gpu") is None else f"GPU {gpu}"
        groups[f"{node} {device} slot {e.place.get('slot') or 0}"].append(e)
    rows: dict[int, str] = {}
    for name, members in groups.items():
        lanes = find_lanes([(e.started_s, e.time_s) for e in members])
        several = max(lanes) > 0
        rows |= {
            id(e): f"{name}/{lane}" if several else name
            for e, lane in zip(members, lanes, strict=True)
        }
    return rows
