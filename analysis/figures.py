"""The figures of a sweep: each with what draws it, and what reads it in two sentences."""

from collections.abc import Callable
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.plots import fields, search, steps, trade_offs, training
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


@dataclass(frozen=True)
class Plot:
    """A figure of the report with what it is called; its drawing's docstring explains it."""

    id: str
    title: str
    draw: Callable[[SweepRecords], go.Figure]  # raises NothingToPlot with the reason
    read: Callable[[go.Figure, SweepRecords], str]  # of what was drawn
    is_broad: bool = False  # over the report's whole width

    @property
    def caption(self) -> str:
        return " ".join((self.draw.__doc__ or "").split())


CATALOGUE = (
    Plot("curves", "Learning curves", training.plot_curves, read_curves, is_broad=True),
    Plot("history", "Optimisation history", training.plot_history, read_history),
    Plot("funnel", "The race", training.plot_funnel, read_funnel),
    Plot("rates", "Learning rate by layers", search.plot_rates, read_rates),
    Plot("seeds", "Spread of seeds", search.plot_seeds, read_seeds),
    Plot("slices", "Field by field", fields.plot_slices, read_slices, is_broad=True),
    Plot("importance", "Importance", fields.plot_importance, read_importance),
    Plot("contour", "Learning rate and length", fields.plot_contour, read_contour),
    Plot("parallel", "Parallel coordinates", fields.plot_parallel, read_parallel, is_broad=True),
    Plot("parameters", "Size of the adapter", trade_offs.plot_parameters, read_parameters),
    Plot("bleu-success", "BLEU and Success", trade_offs.plot_bleu_success, read_bleu_success),
    Plot("pareto", "Cost and score", trade_offs.plot_pareto, read_pareto, is_broad=True),
    Plot("rungs", "What a rung foretells", search.plot_rung_correlation, read_rungs),
    Plot("regret", "Regret so far", search.plot_regret, read_regret),
    Plot("distribution", "Distribution of scores", search.plot_distribution, read_distribution),
    Plot(
        "training-loss",
        "Training loss",
        steps.plot_training_loss,
        read_training_loss,
        is_broad=True,
    ),
    Plot("gradient-norm", "Gradient norm", steps.plot_gradient_norm, read_gradient_norm),
    Plot("schedules", "Learning rate by step", steps.plot_schedules, read_schedules),
    Plot("speed", "Tokens a second", steps.plot_speed, read_speed),
    Plot("gpu", "The GPU meanwhile", steps.plot_gpu, read_gpu),
    Plot(
        "timeline", "Who ran where and when", training.plot_timeline, read_timeline, is_broad=True
    ),
)
