"""Figures of training itself, step by step: loss, gradient norm, rate, speed, the GPU."""

from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from analysis.plots.style import BLUE, GREY, RED, NothingToPlot, join_lines, make_figure
from analysis.plots.training import NAMED_COLOURS
from analysis.ranking import rank_trials
from analysis.records import SweepRecords, TrialRecord
from analysis.training import list_speeds, read_trainings, thin
from trainable.training_curve import TrainingPoint

Values = Sequence[float | None]
FEW_POINTS = 40  # of a trial that is one of many lines
TURNS = "system turns trained on"
NONE_KEPT = "no trial's training was kept step by step"


def plot_training_loss(records: SweepRecords) -> go.Figure:
    """The loss on the batches trained on (nats a target token), before each step; a point is the
    mean over a few steps. The first in rank by name, failed trials red."""
    return _draw(records, lambda points: [p.loss_nats for p in points], "training loss, nats")


def plot_gradient_norm(records: SweepRecords) -> go.Figure:
    """The gradient's norm before clipping, likewise: it grows before a trial diverges."""
    figure = _draw(records, lambda points: [p.gradient_norm for p in points], "gradient norm")
    return figure.update_yaxes(type="log")


def plot_schedules(records: SweepRecords) -> go.Figure:
    """The learning rate as it was at each step."""
    figure = _draw(records, lambda points: [p.learning_rate for p in points], "learning rate")
    return figure.update_yaxes(type="log")


def plot_speed(records: SweepRecords) -> go.Figure:
    """Tokens trained on a second of the trial's own time: where trials share a pass, they share
    its seconds."""
    return _draw(records, list_speeds, "tokens a second").update_yaxes(rangemode="tozero")


def plot_gpu(records: SweepRecords) -> go.Figure:
    """How busy the GPU was while the first in rank trained, in per cent, and (dotted) how much of
    its memory was taken, in GiB: by all that ran there."""
    trainings = read_trainings(records)
    measured = {
        trial: points
        for trial, points in trainings.items()
        if any(p.gpu_percent is not None for p in points)
    }
    if not measured:
        raise NothingToPlot("no GPU's use was measured while trials trained")
    best = [t for t in _find_best(records) if t.id in measured]
    traces = []
    for trial, colour in zip(best, NAMED_COLOURS, strict=False):
        points = measured[trial.id]
        x = [p.turns_seen for p in points]
        look = {"x": x, "mode": "lines", "legendgroup": trial.id}
        percent, gib = [p.gpu_percent for p in points], [p.gpu_gib for p in points]
        traces.append(go.Scatter(y=percent, name=trial.id, line={"color": colour}, **look))
        dotted = {"color": colour, "dash": "dot"}
        traces.append(go.Scatter(y=gib, name=f"{trial.id}, GiB", line=dotted, **look))
    return make_figure(traces, x=TURNS, y="per cent, GiB").update_yaxes(rangemode="tozero")


def _find_best(records: SweepRecords) -> list[TrialRecord]:
    return [e.trial for e in rank_trials(records) if not e.trial.is_base][: len(NAMED_COLOURS)]


def _draw(
    records: SweepRecords, pick: Callable[[Sequence[TrainingPoint]], Values], label: str
) -> go.Figure:
    """All trials over turns: the best by name, the others as two groups of thin lines."""
    trainings = read_trainings(records)
    if not trainings:
        raise NothingToPlot(NONE_KEPT)
    best = [t for t in _find_best(records) if t.id in trainings]
    others = [t for t in records.trials if t.id in trainings and t not in best]
    failed = [t for t in others if t.state == "FAIL"]
    rest = [t for t in others if t.state != "FAIL"]
    groups = [(rest, f"others ({len(rest)})", GREY if best else BLUE, 1.0)]
    groups.append((failed, f"failed ({len(failed)})", RED, 1.5))
    groups += [([t], t.id, c, 2.5) for t, c in zip(best, NAMED_COLOURS, strict=False)]
    traces = []
    for trials, name, colour, width in groups:
        lines = [_list_marks(trainings[t.id], pick, is_few=len(trials) > 1) for t in trials]
        if not lines:
            continue
        text = join_lines([[t.id] * len(x) for t, (x, _) in zip(trials, lines, strict=True)])
        traces.append(
            go.Scatter(
                x=join_lines([x for x, _ in lines]),
                y=join_lines([y for _, y in lines]),
                text=text,
                name=name,
                mode="lines",
                line={"color": colour, "width": width},
                hovertemplate="trial %{text}<br>%{x} turns: %{y:.4g}<extra></extra>",
            )
        )
    return make_figure(traces, x=TURNS, y=label)


def _list_marks(
    points: Sequence[TrainingPoint],
    pick: Callable[[Sequence[TrainingPoint]], Values],
    *,
    is_few: bool,
) -> tuple[list[int], list[float | None]]:
    pairs = list(zip([p.turns_seen for p in points], pick(points), strict=True))
    shown = thin(pairs, FEW_POINTS) if is_few else pairs
    return [x for x, _ in shown], [y for _, y in shown]
