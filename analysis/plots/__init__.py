"""The figures of a sweep: each takes the records and returns a plotly figure, or raises
NothingToPlot with the reason."""

from collections.abc import Callable
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.plots.fields import plot_contour, plot_importance, plot_parallel, plot_slices
from analysis.plots.search import (
    plot_distribution,
    plot_rates,
    plot_regret,
    plot_rung_correlation,
    plot_seeds,
)
from analysis.plots.steps import (
    plot_gpu,
    plot_gradient_norm,
    plot_schedules,
    plot_speed,
    plot_training_loss,
)
from analysis.plots.style import NothingToPlot
from analysis.plots.trade_offs import plot_bleu_success, plot_parameters, plot_pareto
from analysis.plots.training import plot_curves, plot_funnel, plot_history, plot_timeline
from analysis.records import SweepRecords

__all__ = [
    "CATALOGUE",
    "NothingToPlot",
    "Plot",
    "plot_bleu_success",
    "plot_contour",
    "plot_curves",
    "plot_distribution",
    "plot_funnel",
    "plot_gpu",
    "plot_gradient_norm",
    "plot_history",
    "plot_importance",
    "plot_parallel",
    "plot_parameters",
    "plot_pareto",
    "plot_rates",
    "plot_regret",
    "plot_rung_correlation",
    "plot_schedules",
    "plot_seeds",
    "plot_slices",
    "plot_speed",
    "plot_timeline",
    "plot_training_loss",
]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure of the report with what it is called; its function's docstring explains it."""

    id: str
    title: str
    draw: Callable[[SweepRecords], go.Figure]
    is_broad: bool = False  # over the report's whole width

    @property
    def caption(self) -> str:
        return " ".join((self.draw.__doc__ or "").split())


CATALOGUE = (
    Plot(id="curves", title="Learning curves", draw=plot_curves, is_broad=True),
    Plot(id="history", title="Optimisation history", draw=plot_history),
    Plot(id="funnel", title="The race", draw=plot_funnel),
    Plot(id="rates", title="Learning rate by layers", draw=plot_rates),
    Plot(id="seeds", title="Spread of seeds", draw=plot_seeds),
    Plot(id="slices", title="Field by field", draw=plot_slices, is_broad=True),
    Plot(id="importance", title="Importance", draw=plot_importance),
    Plot(id="contour", title="Learning rate and length", draw=plot_contour),
    Plot(id="parallel", title="Parallel coordinates", draw=plot_parallel, is_broad=True),
    Plot(id="parameters", title="Size of the adapter", draw=plot_parameters),
    Plot(id="bleu-success", title="BLEU and Success", draw=plot_bleu_success),
    Plot(id="pareto", title="Cost and score", draw=plot_pareto, is_broad=True),
    Plot(id="rungs", title="What a rung foretells", draw=plot_rung_correlation),
    Plot(id="regret", title="Regret so far", draw=plot_regret),
    Plot(id="distribution", title="Distribution of scores", draw=plot_distribution),
    Plot(id="training-loss", title="Training loss", draw=plot_training_loss, is_broad=True),
    Plot(id="gradient-norm", title="Gradient norm", draw=plot_gradient_norm),
    Plot(id="schedules", title="Learning rate by step", draw=plot_schedules),
    Plot(id="speed", title="Tokens a second", draw=plot_speed),
    Plot(id="gpu", title="The GPU meanwhile", draw=plot_gpu),
    Plot(id="timeline", title="Who ran where and when", draw=plot_timeline, is_broad=True),
)
