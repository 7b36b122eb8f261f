"""Figures in words: two sentences on what each of the report's shows, made from what it draws."""

from collections.abc import Callable

import plotly.graph_objects as go

from analysis.plots import Plot
from analysis.readings.fields import read_contour, read_importance, read_parallel, read_slices
from analysis.readings.search import (
    read_distribution,
    read_rates,
    read_regret,
    read_rungs,
    read_seeds,
)
from analysis.readings.steps import (
    read_gpu,
    read_gradient_norm,
    read_schedules,
    read_speed,
    read_training_loss,
)
from analysis.readings.trade_offs import read_bleu_success, read_parameters, read_pareto
from analysis.readings.training import read_curves, read_funnel, read_history, read_timeline
from analysis.records import SweepRecords

READINGS: dict[str, Callable[[go.Figure, SweepRecords], str]] = {
    "curves": read_curves,
    "history": read_history,
    "funnel": read_funnel,
    "rates": read_rates,
    "seeds": read_seeds,
    "slices": read_slices,
    "importance": read_importance,
    "contour": read_contour,
    "parallel": read_parallel,
    "parameters": read_parameters,
    "bleu-success": read_bleu_success,
    "pareto": read_pareto,
    "rungs": read_rungs,
    "regret": read_regret,
    "distribution": read_distribution,
    "training-loss": read_training_loss,
    "gradient-norm": read_gradient_norm,
    "schedules": read_schedules,
    "speed": read_speed,
    "gpu": read_gpu,
    "timeline": read_timeline,
}


def read_figure(plot: Plot, figure: go.Figure, records: SweepRecords) -> str:
    """What a drawn figure shows of this sweep; its caption, where nobody wrote how to read it."""
    return READINGS[plot.id](figure, records) if plot.id in READINGS else plot.caption
