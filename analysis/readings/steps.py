"""Training step by step, in words: loss, gradient norm, rate, speed, the GPU."""

from collections.abc import Mapping, Sequence
from statistics import median

import plotly.graph_objects as go

from analysis.labels import count_things
from analysis.ranking import rank_trials
from analysis.records import SweepRecords
from analysis.training import list_speeds, read_trainings
from trainable.training_curve import TrainingPoint

Trainings = Mapping[str, Sequence[TrainingPoint]]


def read_training_loss(figure: go.Figure, records: SweepRecords) -> str:
    trial, points, trainings = _find_first(records)
    ends = {t: p[-1].loss_nats for t, p in trainings.items()}
    lowest = min(ends, key=lambda t: ends[t])
    return (
        f"The training loss of trial {trial} went from {points[0].loss_nats:.3g} to "
        f"{points[-1].loss_nats:.3g} nats a target token in {points[-1].turns_seen:,} turns. "
        f"The lowest at the end of {count_things(len(ends), 'trial')} is {ends[lowest]:.3g}, that "
        f"of trial {lowest}."
    )


def read_gradient_norm(figure: go.Figure, records: SweepRecords) -> str:
    trial, points, trainings = _find_first(records)
    norms = [p.gradient_norm for p in points]
    highest = {t: max(p, key=lambda point: point.gradient_norm) for t, p in trainings.items()}
    most = max(highest, key=lambda t: highest[t].gradient_norm)
    return (
        f"The gradient of trial {trial} had norms from {min(norms):.3g} to {max(norms):.3g}, with "
        f"a median of {median(norms):.3g}. The highest of {count_things(len(highest), 'trial')}, "
        f"{highest[most].gradient_norm:.3g}, was that of trial {most} after "
        f"{highest[most].turns_seen:,} turns."
    )


def read_schedules(figure: go.Figure, records: SweepRecords) -> str:
    trial, points, trainings = _find_first(records)
    top = max(points, key=lambda point: point.learning_rate)
    end = points[-1].learning_rate
    peaks = [max(p.learning_rate for p in points) for points in trainings.values()]
    highest = f"was {top.learning_rate:.3g} at its highest, after {top.turns_seen:,} turns, and"
    told = f"{highest} {end:.3g} at the end" if end < top.learning_rate else f"ended at {end:.3g}"
    return (
        f"The learning rate of trial {trial} {told}. The highest rates of "
        f"{count_things(len(peaks), 'trial')} lie {_span(peaks, '.3g')}."
    )


def read_speed(figure: go.Figure, records: SweepRecords) -> str:
    trial, points, trainings = _find_first(records)
    speeds = {t: _find_speed(p) for t, p in trainings.items()}
    return (
        f"Trial {trial} trained on {_find_speed(points):,.0f} tokens a second, at the median of "
        f"its points. Those of {count_things(len(speeds), 'trial')} lie "
        f"{_span(list(speeds.values()), ',.0f')}."
    )


def read_gpu(figure: go.Figure, records: SweepRecords) -> str:
    trial = next(t.name for t in figure.data)
    points = read_trainings(records)[trial]
    busy = [p.gpu_percent for p in points if p.gpu_percent is not None]
    taken = [p.gpu_gib for p in points if p.gpu_gib is not None]
    return (
        f"While trial {trial} trained, its GPU computed for {median(busy):.0f} % of the time, at "
        f"the median of its points. At most {max(taken):.1f} GiB of its memory were taken, by all "
        "that ran there."
    )


def _find_first(records: SweepRecords) -> tuple[str, Sequence[TrainingPoint], Trainings]:
    """The first in rank whose training was kept, its points, and those of all trials."""
    trainings = read_trainings(records)
    ranked = [e.trial.id for e in rank_trials(records) if not e.trial.is_base]
    trial = next(t for t in [*ranked, *trainings] if t in trainings)
    return trial, trainings[trial], trainings


def _span(values: Sequence[float], style: str) -> str:
    """
    >>> _span([3.0, 1.0], ".1f"), _span([2.0, 2.0], ".1f")
    ('between 1.0 and 3.0', 'at 2.0')
    """
    low, high = format(min(values), style), format(max(values), style)
    return f"at {low}" if low == high else f"between {low} and {high}"


def _find_speed(points: Sequence[TrainingPoint]) -> float:
    return median([speed for speed in list_speeds(points) if speed is not None] or [0.0])
