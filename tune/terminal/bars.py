"""Bars of what this process is at, for commands that work themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainable.system.activity import Activity, read_activities
from tune.terminal.redraw import can_redraw

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress_bar import ProgressBar

BLUE = "#2a8fd0"  # seen on white and on black


@contextlib.contextmanager
def show_activities() -> Iterator[None]:
    """On a terminal, for as long as it is entered; elsewhere nothing."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    if not can_redraw(console):
        yield
        return
    with Live(console=console, get_renderable=render_all, transient=True):
        yield


def render_all() -> RenderableType:
    from rich.console import Group

    return Group(*(render_activity(a, width=40) for a in read_activities().values()))


def render_activity(activity: Activity, width: int) -> RenderableType:
    """`training ━━━━╸    `: a bar that moves to and fro where the total is unknown."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text(activity.what), make_bar(activity.done, activity.total, width))
    return grid


def make_bar(done: float, total: float | None, width: int) -> ProgressBar:
    from rich.progress_bar import ProgressBar

    return ProgressBar(
        total=total,
        completed=done,
        width=width,
        style="bright_black",
        complete_style=BLUE,
        finished_style=BLUE,
        pulse_style=BLUE,
    )
