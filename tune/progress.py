"""The sweep while it runs: one live table on a terminal, one line an event anywhere else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from analysis.curves import (
    count_rungs,
    draw_sparkline,
    gpu_of,
    measure_gpu_hours,
    name_hours,
    trained_turns,
    worked_s,
)
from analysis.labels import label_params
from analysis.records import RUNNING, STATES, Ledger, TrialRecord

STATE_STYLES = {"COMPLETE": "green", "PRUNED": "yellow", "RUNNING": "cyan", "FAIL": "red"}
SHOWN_TRIALS = 16


class Progress:
    """Shows a sweep from its events. `sweep` is the content of sweep.json; `slots` the number of
    trials that can run at once; `since_s` the unix time at which the driver began (None: there is
    none, or the first event will say). A context manager: the live table is up while it is entered.

    Besides the events of evals.jsonl it takes {"event": "activity", "what": str, "done": number,
    "total": number | None}: a bar for a download, a model being loaded, an evaluation."""

    def __init__(
        self,
        sweep: Mapping[str, Any],
        *,
        slots: int = 1,
        console: Console | None = None,
        since_s: float | None = None,
    ) -> None:
        self.sweep = sweep
        self.slots = max(slots, 1)
        self.console = console or Console()
        self.ledger = Ledger()
        self.activities: dict[str, tuple[float, float | None]] = {}
        self.since_s = since_s
        self.live: Live | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
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

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Takes in one event; prints its line unless the live table shows it."""
        if event.get("event") == "activity":
            self._on_activity(event)
            return
        self.ledger.add(event)
        if self.since_s is None:
            self.since_s = float(event.get("time_s") or time.time())
        if self.live is None and (line := describe_event(event, self.ledger)):
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _on_activity(self, event: Mapping[str, Any]) -> None:
        what, done, total = event["what"], float(event["done"]), event.get("total")
        is_new = what not in self.activities
        self.activities[what] = (done, total)
        is_over = total is not None and done >= total
        if is_over:
            del self.activities[what]
        if self.live is None and (is_new or is_over):
            state = "done" if is_over else "started"
            self.console.print(f"{what}: {state}", highlight=False, markup=False)

    @property
    def trials(self) -> list[TrialRecord]:
        """The searched ones, copied: the live table reads from its own thread."""
        return [t for t in list(self.ledger.trials.values()) if not t.is_base]

    def render(self) -> RenderableType:
        """The table as it stands."""
        parts: list[RenderableType] = [
            Text(self.sweep.get("name", ""), style="bold"),
            self._render_summary(),
            self._render_rungs(),
            self._render_running(),
            *self._render_activities(),
        ]
        if self.ledger.notes:
            parts.append(Text(self.ledger.notes[-1], style="dim"))
        return Group(*parts)

    def _render_summary(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        counts = Text(", ").join(
            Text(f"{n} {state.lower()}", style=STATE_STYLES[state])
            for state in STATES
            if (n := sum(t.state == state for t in self.trials))
        )
        wanted = self._count_wanted()
        grid.add_row("trials", Text.assemble(counts, f" of {wanted}" if wanted else ""))
        grid.add_row("best", self._describe_best())
        grid.add_row("speed", self._describe_speed())
        if self.since_s is not None:
            grid.add_row("slots", self._describe_slots())
        grid.add_row("spent", self._describe_spent())
        return grid

    def _describe_best(self) -> str:
        trials = list(self.ledger.trials.values())
        scored = [t for t in trials if t.last and t.state != "FAIL"]
        if not scored:
            return "no score yet"
        best = max(scored, key=lambda t: t.last.combined if t.last else 0.0)
        assert best.last
        return (
            f"Combined {best.last.combined:.1f}  (trial {best.id}, {best.last.turns_seen} turns: "
            f"{label_params(best.params) or 'untuned'})"
        )

    def _describe_speed(self) -> str:
        elapsed_s = worked_s(self.trials, self.since_s)
        turns = trained_turns(self.trials)
        rate = turns / elapsed_s if elapsed_s > 0 else 0.0
        left_s = self.forecast(elapsed_s)
        forecast = "" if left_s is None else f", about {format_duration(left_s)} left"
        return f"{rate:.1f} turns/s over {format_duration(elapsed_s)}{forecast}"

    def forecast(self, spent: float) -> float | None:
        """How much is still to be spent (seconds, hours, ...) if the trials to come cost what the
        ended ones did; None before the first end. A running trial counts by half."""
        wanted = self._count_wanted()
        ended = sum(t.state != RUNNING for t in self.trials)
        if not ended or not wanted:
            return None
        running = len(self.trials) - ended
        done = ended + running / 2
        return spent / done * max(wanted - done, 0.0)

    def _count_wanted(self) -> int:
        """Trials that the sweep will have had: those to be proposed, and clones."""
        proposed = int(self.sweep.get("config", {}).get("trials") or 0)
        return proposed and proposed + sum(t.origin is not None for t in self.trials)

    def _describe_slots(self) -> str:
        running = [t for t in self.trials if t.state == RUNNING]
        evals = [e for t in self.trials for e in t.evals]
        gpus = {gpu_of(e) for e in evals if e.place.get("gpu") is not None}
        use = min(100.0, 100.0 * len(running) / self.slots)
        where = f", GPUs: {len(gpus)}" if gpus else ""
        return f"{len(running)} of {self.slots} busy ({use:.0f} %){where}"

    def _describe_spent(self) -> str:
        trials = list(self.ledger.trials.values())
        hours = sum(measure_gpu_hours(trials).values())
        left = self.forecast(hours)
        more = f", about {left:.2f} to come" if left else ""
        return f"{hours:.2f} {name_hours(trials)}{more}"

    def _render_rungs(self) -> Table:
        rungs = count_rungs(self.trials, self.sweep.get("config", {}).get("rungs_turns") or ())
        grid = Table.grid(padding=(0, 2))
        widest = max((r.reached for r in rungs), default=0) or 1
        for rung in rungs:
            best = "" if rung.best is None else f"best {rung.best:.1f}"
            bar = ProgressBar(total=widest, completed=rung.reached, width=20)
            grid.add_row(f"{rung.turns:>9} turns", bar, f"{rung.reached} reached", best)
        return grid

    def _render_running(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("trial", no_wrap=True, min_width=5)
        table.add_column("turns", justify="right", no_wrap=True, min_width=6)
        table.add_column("Combined", justify="right", no_wrap=True, min_width=8)
        table.add_column("curve", no_wrap=True, min_width=12)
        table.add_column("searched", no_wrap=True, overflow="ellipsis")
        running = [t for t in self.trials if t.state == RUNNING]
        highest = max((e.combined for t in self.trials for e in t.evals), default=100.0)
        for trial in running[:SHOWN_TRIALS]:
            curve = draw_sparkline([e.combined for e in trial.evals[-12:]], high=highest)
            last = trial.last
            turns, score = (str(last.turns_seen), f"{last.combined:.1f}") if last else ("0", "")
            table.add_row(trial.id, turns, score, curve, label_params(trial.params))
        if len(running) > SHOWN_TRIALS:
            table.add_row(f"+{len(running) - SHOWN_TRIALS}")
        return table

    def _render_activities(self) -> list[RenderableType]:
        grid = Table.grid(padding=(0, 2))
        for what, (done, total) in list(self.activities.items()):
            grid.add_row(what, ProgressBar(total=total, completed=done, width=30))
        return [grid] if self.activities else []


def describe_event(event: Mapping[str, Any], ledger: Ledger) -> str | None:
    """One line for a log; None for what only the table shows."""
    kind, trial = event.get("event"), event.get("trial", "")
    if kind == "trial":
        params = label_params(event["params"]) or "untuned"
        return f"trial {trial} starts: {params}"
    if kind == "eval" and ledger.trials.get(trial) and ledger.trials[trial].evals:
        return (
            f"trial {trial} at {event['turns_seen']} turns: Combined {event['combined']:.1f} "
            f"(BLEU {event['bleu']:.1f}, Inform {event['inform']:.1f}, "
            f"Success {event['success']:.1f})"
        )
    if kind == "end":
        reason = f": {event['reason']}" if event.get("reason") else ""
        return f"trial {trial} {event['state']}{reason}"
    return f"note: {event['text']}" if kind == "note" else None


def format_duration(seconds: float) -> str:
    """
    >>> format_duration(75), format_duration(4000), format_duration(9)
    ('1 min 15 s', '1 h 6 min', '9 s')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
