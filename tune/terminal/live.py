"""The sweep while it runs: one live table on a terminal, one line an event anywhere else."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.live import Live

from analysis.labels import format_score, label_objective, label_setting
from analysis.records import Ledger
from trainable.result import OBJECTIVE
from tune.terminal.progress import SweepProgress
from tune.terminal.redraw import can_redraw
from tune.terminal.table import render


class Display:
    """Shows a sweep's progress. A context manager: the live table is up while it is entered."""

    def __init__(self, progress: SweepProgress, console: Console | None = None) -> None:
        self.progress = progress
        self.console = console or Console()
        self.live: Live | None = None

    def __enter__(self) -> Self:
        if can_redraw(self.console):
            self.live = Live(console=self.console, get_renderable=self.render, refresh_per_second=4)
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.live:
            self.live.stop()

    def render(self) -> RenderableType:
        """The table as it stands."""
        return render(self.progress)

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Takes in one event; prints its line unless the live table shows it."""
        self.progress.on_event(event)
        if self.live is None and (line := describe_event(event, self.progress.ledger)):
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)


def describe_scores(event: Mapping[str, Any]) -> str:
    """Of an evaluation: its rates, or its loss where no replies were made."""
    told = event.get("objective") or {"name": OBJECTIVE, "value": event[OBJECTIVE]}
    if told["value"] is None:
        return f"{event['nats_per_word']:.3f} nats a word"
    rates = {"BLEU": "bleu", "Inform": "inform", "Success": "success"}
    known = {label: event[name] for label, name in rates.items() if name != told["name"]}
    parts = [f"{label} {value:.1f}" for label, value in known.items() if value is not None]
    beside = f" ({', '.join(parts)})" if parts else ""
    return f"{label_objective(told['name'])} {format_score(told['value'], told['name'])}{beside}"


def describe_event(event: Mapping[str, Any], ledger: Ledger) -> str | None:
    """One line for a log; None for what only the table shows."""
    kind, trial = event.get("event"), event.get("trial", "")
    if kind == "trial":
        return f"trial {trial} starts: {label_setting(event['number'], event['params'])}"
    if kind == "eval" and ledger.trials.get(trial) and ledger.trials[trial].evals:
        return f"trial {trial} at {event['turns_seen']} turns: {describe_scores(event)}"
    if kind == "end":
        reason = f": {event['reason']}" if event.get("reason") else ""
        return f"trial {trial} {event['state']}{reason}"
    return f"note: {event['text']}" if kind == "note" else None
