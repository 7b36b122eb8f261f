"""One of the report's figures as an SVG or PNG file, drawn by matplotlib without a browser.

python -m analysis.static NAME --figure curves --output curves.svg
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.command.flags import add_name
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.trial import ConfigError, nearest

if TYPE_CHECKING:
    import plotly.graph_objects as go

DRAWN = ("scatter", "bar", "heatmap")
SYMBOLS = {"x": "x", "x-thin-open": "x", "diamond": "D"}
SIZE_INCHES = (7.2, 3.8)


class Picture:
    """A drawn figure, to be saved as SVG or PNG."""

    def __init__(self, drawn: Any) -> None:
        self.drawn = drawn

    def save(self, path: Path) -> None:
        path.write_bytes(self._render(path.suffix.lstrip(".")))

    def _render(self, kind: str) -> bytes:
        import matplotlib

        content = io.BytesIO()
        dates = {"Date": None} if kind == "svg" else {}  # the same figure gives the same bytes
        with matplotlib.rc_context({"svg.hashsalt": "figure"}):
            self.drawn.savefig(content, format=kind, dpi=90, bbox_inches="tight", metadata=dates)
        return content.getvalue()


def draw_static(figure: go.Figure) -> Picture:
    """The figure by matplotlib: lines, marks, bars, error bars and heat maps. Raises
    ConfigError for what only a browser can show (parallel coordinates)."""
    from matplotlib.figure import Figure

    for trace in figure.data:
        if trace.type not in DRAWN:
            raise ConfigError(f"a figure of {trace.type} needs a browser: see the report")
    drawn = Figure(figsize=SIZE_INCHES)
    names = sorted({trace.xaxis or "x" for trace in figure.data}, key=lambda n: int(n[1:] or 1))
    panels = drawn.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for name, axes in zip(names, panels, strict=True):
        traces = [t for t in figure.data if (t.xaxis or "x") == name]
        _draw_panel(axes, traces, figure, name)
    panels[0].set_ylabel(figure.layout.yaxis.title.text or "")
    labelled = panels[0].get_legend_handles_labels()[0]
    if labelled and figure.layout.showlegend is not False:
        panels[0].legend(fontsize=8, frameon=False)
    drawn.tight_layout()
    return Picture(drawn)


def _draw_panel(axes: Any, traces: Sequence[Any], figure: go.Figure, name: str) -> None:
    from analysis.plots.style import PALETTE

    layout = figure.layout[f"xaxis{name[1:]}"]
    if layout.type == "log":
        axes.set_xscale("log")
    bars = Bars(is_stacked=figure.layout.barmode == "stack")
    for i, trace in enumerate(traces):
        colour = _colour(trace, PALETTE[i % len(PALETTE)])
        if trace.type == "scatter":
            _draw_scatter(axes, trace, colour)
        elif trace.type == "bar" and trace.orientation != "h":
            axes.bar([str(x) for x in trace.x], trace.y, color=colour, label=trace.name)
        elif trace.type == "bar":
            bars.draw(axes, trace, colour)
        else:
            _draw_field(axes, trace)
    for shape in figure.layout.shapes:
        axes.axhline(shape.y0, color=shape.line.color, linestyle=":")
    if figure.layout.yaxis.autorange == "reversed":
        axes.invert_yaxis()
    axes.set_xlabel(layout.title.text or "")
    axes.tick_params(labelsize=8)
    if name != "x":
        axes.tick_params(axis="x", rotation=30)
    if traces and traces[0].type != "heatmap":
        axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_scatter(axes: Any, trace: Any, colour: Any) -> None:
    x = [float("nan") if v is None else v for v in trace.x]
    y = [float("nan") if v is None else v for v in trace.y]
    label = trace.name if trace.showlegend is not False else None
    if "lines" in trace.mode:
        shape = "steps-post" if trace.line.shape == "hv" else "default"
        is_seen = "markers" in trace.mode or sum(v is not None for v in trace.y) == 1
        mark = "o" if is_seen else None
        look = {"lw": trace.line.width or 1.5, "drawstyle": shape, "marker": mark, "ms": 4}
        axes.plot(x, y, color=colour, label=label, **look)
        return
    if trace.error_y.array is not None:
        spread = [list(trace.error_y.arrayminus), list(trace.error_y.array)]
        axes.errorbar(x, y, yerr=spread, fmt="none", color=colour, lw=0.8)
    sizes = trace.marker.size
    area = [s**2 for s in sizes] if isinstance(sizes, tuple | list) else (sizes or 6) ** 2
    mark = SYMBOLS.get(trace.marker.symbol or "", "o")
    axes.scatter(x, y, s=area, color=colour, marker=mark, alpha=0.7, label=label, lw=0.8)


class Bars:
    """Horizontal bars of several traces: stacked, or over one another."""

    def __init__(self, *, is_stacked: bool) -> None:
        self.is_stacked = is_stacked
        self.ends: dict[str, float] = {}  # where the next stacked bar starts
        self.places: dict[str, int] = {}

    def draw(self, axes: Any, trace: Any, colour: Any) -> None:
        names, lengths = [str(v) for v in trace.y], [float(v) for v in trace.x]
        starts = list(trace.base or [])
        if not starts:
            starts = [self.ends.get(n, 0.0) if self.is_stacked else 0.0 for n in names]
        for name, start, length in zip(names, starts, lengths, strict=True):
            self.places.setdefault(name, len(self.places))
            self.ends[name] = start + length
        rows = [self.places[n] for n in names]
        axes.barh(rows, lengths, left=starts, height=0.75, color=colour, label=trace.name)
        axes.set_yticks(list(self.places.values()), list(self.places))


def _draw_field(axes: Any, trace: Any) -> None:
    import numpy as np

    z = np.array([[np.nan if v is None else v for v in row] for row in trace.z], dtype=float)
    if all(isinstance(v, float) for v in trace.x):  # on a logarithmic axis, evenly
        places = np.log(np.array(trace.x, dtype=float))
        half = (places[1] - places[0]) / 2
        edges = np.exp([*(places - half), places[-1] + half])
        axes.pcolormesh(edges, np.arange(len(trace.y) + 1) - 0.5, z, cmap="viridis")
        axes.set_yticks(range(len(trace.y)), [str(v) for v in trace.y])
        return
    axes.imshow(z, aspect="auto", cmap="viridis")
    axes.set_xticks(range(len(trace.x)), [str(v) for v in trace.x], rotation=30, ha="right")
    axes.set_yticks(range(len(trace.y)), [str(v) for v in trace.y])


def _colour(trace: Any, default: str) -> Any:
    """The trace's colour as matplotlib takes it."""
    line = getattr(trace, "line", None)
    colour = trace.marker.color if hasattr(trace, "marker") else None
    if "lines" in (getattr(trace, "mode", None) or ""):
        colour = line.color if line else None
    if not isinstance(colour, str):
        return default
    if colour.startswith("rgba("):
        red, green, blue, alpha = (float(v) for v in colour[5:-1].split(","))
        return (red / 255, green / 255, blue / 255, alpha)
    return colour


def build_parser() -> Parser:
    parser = Parser("analysis.static", __doc__, name="figure")
    add_name(parser)
    parser.add_argument("--figure", default="curves", help="one of the report's")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", required=True, help="a .svg or .png file"
    )
    return parser


def draw(flags: argparse.Namespace) -> Outcome:
    """Raises ConfigError on an unknown sweep."""
    from analysis.records import find_sweep

    save_figure(find_sweep(flags.name, flags.storage), flags.figure, flags.output)
    return Outcome(facts={"figure": flags.figure, "output": flags.output})


def save_figure(folder: Path, figure: str, output: Path) -> None:
    """Raises ConfigError on an unknown figure or kind of file."""
    from analysis.figures import CATALOGUE
    from analysis.plots.style import NothingToPlot
    from analysis.records import read_sweep

    plots = {plot.id: plot for plot in CATALOGUE}
    if figure not in plots:
        raise ConfigError(
            f"--figure must be one of {', '.join(plots)}, not {figure!r}{nearest(figure, plots)}"
        )
    if output.suffix not in (".svg", ".png"):
        raise ConfigError(f"--output must end in .svg or .png, not {output.suffix!r}")
    try:
        draw_static(plots[figure].draw(read_sweep(folder))).save(output)
    except NothingToPlot as reason:
        raise ConfigError(f"--figure {figure} has nothing to show: {reason}") from reason


main = make_main(build_parser, draw)

if __name__ == "__main__":
    start_command(main)
