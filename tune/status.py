"""A sweep's trials and scores, from another terminal or node: python -m tune.status NAME

Read from the sweep's folder alone. On a terminal the table is live until the sweep's driver ends.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.command.flags import add_name
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.system.garbage import pause_collection
from tune.folder.find import open_folder

if TYPE_CHECKING:
    from rich.console import RenderableType

LOOK_S = 1.0
WEIGH_S = 10.0  # between measurements of a folder that may hold many files


def tell_status(flags: argparse.Namespace) -> Outcome:
    folder = open_folder(flags, "tune.status")
    if flags.json:
        return Outcome(facts=summarise(folder))
    with contextlib.suppress(KeyboardInterrupt):
        show(View(folder), once=flags.once)
    return Outcome()


def summarise(folder: Path) -> dict[str, Any]:
    """JSON-ready: how far the sweep is, and its verdict in the report's own words."""
    from analysis.records import read_sweep
    from analysis.verdict import find_verdict, to_dict
    from analysis.wording import state

    records = read_sweep(folder)
    verdict = find_verdict(records)
    return {
        "name": records.name,
        "folder": folder,
        "question": records.space.get("question"),
        "is_running": records.is_running,
        "trials": records.count_states(),
        "waiting": records.n_waiting,
        **to_dict(verdict, state(verdict) if verdict else ()),
    }


def show(view: View, *, once: bool) -> None:
    """The table; on a terminal, for as long as the sweep has a driver."""
    from rich.console import Console

    from tune.terminal.redraw import can_redraw

    console = Console()
    with pause_collection():
        view.look()
        if once or not can_redraw(console) or view.owner is None:
            console.print(view.render())
            return
    from rich.live import Live

    with Live(view.render(), console=console, auto_refresh=False) as live:
        while view.owner is not None:
            time.sleep(LOOK_S)
            view.look()
            live.update(view.render(), refresh=True)


class View:
    """What the folder tells, read on from where it was read last. Raises ConfigError when the
    folder is no sweep's, or of a newer format."""

    def __init__(self, folder: Path) -> None:
        from analysis.lines import Lines
        from analysis.records import read_header
        from tune.terminal.progress import SweepProgress

        self.folder = folder
        self.progress = SweepProgress({**read_header(folder), "name": folder.name})
        self.lines = Lines(folder)
        self.owner: str | None = None
        self.usage, self.weighed_s = "", -WEIGH_S

    def look(self) -> None:
        from trainable.storage.remote import fetch_events
        from tune.folder.disk import describe_usage
        from tune.folder.lock import find_owner, read_since
        from tune.folder.remote_lock import find_remote_owner

        self.owner = find_owner(self.folder)
        self.progress.since_s = read_since(self.folder) if self.owner else None
        if self.owner is None:
            fetch_events(self.folder)
            self.owner = find_remote_owner(self.folder)
        self._read_on()
        if time.monotonic() - self.weighed_s >= WEIGH_S:
            self.usage, self.weighed_s = describe_usage(self.folder), time.monotonic()

    def _read_on(self) -> None:
        for line, event in self.lines.read_on(is_whole=self.owner is None):
            self.progress.ledger.add(event, line)
            room = event.get("room")
            self.progress.slots = room if isinstance(room, int) else self.progress.slots

    def render(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table

        from tune.terminal.table import render

        grid = Table.grid(padding=(0, 2))
        grid.add_row("state", self._describe_state())
        grid.add_row("disk", self.usage)
        for warning in (*self.lines.warnings, *self.progress.ledger.warnings):
            grid.add_row("records", warning)
        return Group(grid, render(self.progress))

    def _describe_state(self) -> str:
        from analysis.records import is_unfinished
        from tune.folder.resume_command import spell_resume

        if self.owner is not None:
            return f"driven by {self.owner}"
        ledger, config = self.progress.ledger, self.progress.sweep.get("config", {})
        if is_unfinished(ledger.trials.values(), config, ledger.exhausted_at):
            go_on = spell_resume(self.folder, str(config.get("objective")))
            return f"not driven: go on with {go_on}"
        return "finished"


def build_parser() -> Parser:
    parser = Parser("tune.status", __doc__)
    add_name(parser)
    parser.add_argument(
        "--once", action="store_true", help="print the table once and end, for scripts"
    )
    return parser


main = make_main(build_parser, tell_status)

if __name__ == "__main__":
    start_command(main)
