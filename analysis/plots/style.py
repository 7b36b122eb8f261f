"""How all figures look: transparent, readable on light and dark, safe for the colour-blind."""

from typing import Any

import plotly.graph_objects as go

# Okabe and Ito's palette; each stands out on white and on near-black.
BLUE, ORANGE, GREEN, PURPLE = "#2a8fd0", "#e08a00", "#009e73", "#c26a9c"
RED, GREY, YELLOW = "#d55e00", "rgba(128,128,128,0.6)", "#c9a400"
SLATE = "#6b737c"  # a grey that bears white letters
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, RED, "#56b4e9", "#8c8c8c")
STATE_COLOURS = {"COMPLETE": GREEN, "PRUNED": GREY, "RUNNING": BLUE, "FAIL": RED}
STATE_SYMBOLS = {"COMPLETE": "circle", "PRUNED": "x-thin-open", "RUNNING": "diamond", "FAIL": "x"}
SCALE = "Viridis"
LINE = "rgba(128,128,128,0.25)"


class NothingToPlot(ValueError):
    """Why this figure would say nothing for this sweep, in one line for the reader."""


def make_figure(traces: list[Any], *, x: str = "", y: str = "", **layout: Any) -> go.Figure:
    """A figure of these traces with titled axes."""
    lines = dict.fromkeys(("gridcolor", "zerolinecolor", "linecolor"), LINE)
    axis = {**lines, "automargin": True, "exponentformat": "power"}
    figure = go.Figure(
        traces,
        layout={
            "template": "none",
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#767676"},
            "margin": {"l": 56, "r": 16, "t": 16, "b": 48},
            "colorway": PALETTE,
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "hoverlabel": {"namelength": -1},
        },
    )
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    if x:
        figure.update_xaxes(title_text=x)
    if y:
        figure.update_yaxes(title_text=y)
    return figure.update_layout(**layout)


def join_lines(lines: list[list[Any]]) -> list[Any]:
    """Many lines as one trace: values with a gap (None) after each.

    >>> join_lines([[1, 2], [3]])
    [1, 2, None, 3, None]
    """
    return [value for line in lines for value in (*line, None)]
