"""Where a table may be drawn over itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

NOTEBOOK = "JPY_PARENT_PID"  # in what a notebook's cell starts, on a terminal that is none


def can_redraw(console: Console) -> bool:
    """Whether cursor movements mean anything there: not in a pipe or a file, whatever FORCE_COLOR
    says, nor on a dumb terminal or in a notebook. One line an event goes there."""
    is_real = console.file.isatty() and console.is_terminal and not console.is_dumb_terminal
    return is_real and NOTEBOOK not in os.environ
