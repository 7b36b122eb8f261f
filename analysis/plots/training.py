"""Figures over training and time: curves, history, the race, the timeline."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from analysis.curves import count_rungs, find_lanes, gpu_of, split_by_dialogues
from analysis.labels import format_score, label_objective, label_params
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
    """The objective over turns: the first in rank by name, the stopped ones grey. Dotted: from one
    evaluation to the next on other dialogues, whose scores do not compare."""
    scored = [t for t in records.scored if not t.is_base]
    if not scored:
        raise NothingToPlot("no trial has a score yet")
    best = [e.trial for e in rank_trials(records) if not e.trial.is_base][: len(NAMED_COLOURS)]
    named = {t.id for t in best}
    pruned = [t for t in scored if t.state == "PRUNED" and t.id not in named]
    others = [t for t in scored if t.state != "PRUNED" and t.id not in named]
    traces = [
        *_draw(pruned, f"stopped early ({len(pruned)})", GREY, 1.0),
        *_draw(others, f"went on ({len(others)})", BLUE, 1.0),
    ]
    for trial, colour in zip(best, NAMED_COLOURS, strict=False):
        traces += _draw([trial], trial.id, colour, 3.0)
    label = label_objective(records.objective)
    figure = make_figure(traces, x="system turns trained on", y=label)
    for base in (t for t in records.scored if t.is_base):
        figure.add_hline(
            y=base.replied[-1].value, line_dash="dot", line_color=RED, annotation_text="untuned"
        )
    return figure


def _draw(trials: list[TrialRecord], name: str, colour: str, width: float) -> list[go.Scatter]:
    """The trials' marks, joined where the dialogues are the same, and dotted lines between."""
    same, other = [], []
    for trial in trials:
        runs, between = split_by_dialogues(trial.replied)
        same += [(trial, run) for run in runs]
        other += [(trial, pair) for pair in between]
    look = {"legendgroup": name, "opacity": 0.7 if width < 2 else 1.0}
    line = {"color": colour, "width": width}
    traces = []
    if same:
        hover = "trial %{text}<br>%{x} turns: %{y:.1f}<extra></extra>"
        text = join_lines([[_label_eval(t, e) for e in run] for t, run in same])
        marks = {"mode": "lines+markers", "marker": {"size": 4 + width}, "line": line}
        traces.append(_join(same, name=name, text=text, hovertemplate=hover, **marks, **look))
    if other:
        dotted = {**line, "dash": "dot"}
        hidden = {"showlegend": False, "hoverinfo": "skip", "mode": "lines"}
        traces.append(_join(other, name=name, line=dotted, **hidden, **look))
    return traces


def _join(runs: list[tuple[TrialRecord, list[EvalRecord]]], **look: Any) -> go.Scatter:
    return go.Scatter(
        x=join_lines([[e.turns_seen for e in run] for _, run in runs]),
        y=join_lines([[e.value for e in run] for _, run in runs]),
        **look,
    )


def _label_eval(trial: TrialRecord, evaluation: EvalRecord) -> str:
    params = label_params(trial.params)
    return f"{trial.id}, {evaluation.n_dialogues} dialogues<br>{params}"


def plot_history(records: SweepRecords) -> go.Figure:
    """Each trial's last value in the order of proposal, confirmations left out. The size of a
    mark tells how far the trial trained: only marks of one size compare, and the line is the
    best of the largest."""
    scored = [t for t in records.scored if not t.is_base and not t.is_confirmation]
    if not scored:
        raise NothingToPlot("no trial has a score yet")
    levels = records.milestones_turns
    traces = []
    for state in STATES:
        trials = [t for t in scored if t.state == state]
        if not trials:
            continue
        rungs = [levels.index(records.milestone_turns(t.replied[-1].turns_seen)) for t in trials]
        traces.append(
            go.Scatter(
                x=[t.number for t in trials],
                y=[t.replied[-1].value for t in trials],
                text=[
                    f"{t.replied[-1].turns_seen} turns<br>{label_params(t.params)}" for t in trials
                ],
                name=state.lower(),
                mode="markers",
                marker={
                    "color": STATE_COLOURS[state],
                    "symbol": STATE_SYMBOLS[state],
                    "size": [5 + 2 * r for r in rungs],
                    "line": {"width": 1.5, "color": STATE_COLOURS[state]},
                },
                hovertemplate="trial %{x}: %{y:.1f}<br>%{text}<extra></extra>",
            )
        )
    steps = list_best_so_far(records, scored)
    traces.append(
        go.Scatter(
            x=[n for n, _ in steps] + [max(t.number for t in scored)],
            y=[score for _, score in steps] + [steps[-1][1]],
            name="best so far",
            mode="lines",
            line={"shape": "hv", "color": ORANGE, "width": 2},
        )
    )
    label = label_objective(records.objective)
    return make_figure(traces, x="trial, in the order of proposal", y=label)


def list_best_so_far(
    records: SweepRecords, trials: Sequence[TrialRecord]
) -> list[tuple[int, float]]:
    """(trial's number, its value): of those that trained longest, on the same dialogues, each
    that was better than all before it."""
    last = {t.number: t.replied[-1] for t in sorted(trials, key=lambda t: t.number)}
    furthest = max((records.milestone_turns(e.turns_seen), e.n_dialogues) for e in last.values())
    steps: list[tuple[int, float]] = []
    best = float("-inf")
    for number, e in last.items():
        is_furthest = (records.milestone_turns(e.turns_seen), e.n_dialogues) == furthest
        if is_furthest and e.score > best:
            best = e.score
            steps.append((number, e.sign * e.score))
    return steps


def plot_funnel(records: SweepRecords) -> go.Figure:
    """How many trials reached each rung of the race, and how many were stopped there."""
    rungs = count_rungs(records.trials, [level for level in records.milestones_turns if level])
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
    """One row a slot of a GPU (or a process), one bar a stretch of training with its evaluation."""
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
    if evaluation.value is None:
        return f"{evaluation.nats_per_word or 0.0:.3f} nats a word"
    name = evaluation.name
    return f"{label_objective(name)} {format_score(evaluation.value, name)}"


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
