"""The live table of a sweep, as the terminal shows it: as much as its width and height hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from analysis.choice import PointResult
from analysis.curves import Rung, count_gpu_hours, count_rungs, gpu_of, name_hours
from analysis.labels import format_hours, format_score, label_objective, label_setting
from analysis.records import RUNNING, STATES
from tune.terminal.bars import make_bar
from tune.terminal.progress import SweepProgress, format_duration
from tune.terminal.trial_rows import STATE_STYLES, WAITING, render_trials

if TYPE_CHECKING:
    from tune.terminal.heartbeats import GpuUse

SHOWN_TRIALS = 20
LEAST_TRIALS = 4  # shown on the lowest terminal
SHOWN_HERE = 6  # trials named at a rung
SHOWN_GPUS = 4
PASSED = "a rung is reached by the first step that passes it"


@dataclass(frozen=True)
class SweepTable:
    """Takes its width and height from the terminal, each time it is drawn."""

    progress: SweepProgress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        progress = self.progress
        above: list[RenderableType] = [
            Text(progress.sweep.get("name", ""), style="bold"),
            _render_summary(progress),
            Text(),
            _render_rungs(progress),
        ]
        below: list[RenderableType] = [Text(text, style="dim") for text in _list_notes(progress)]
        yield from above
        if progress.ledger.trials:
            yield Text()
            n_rows = SHOWN_TRIALS
            if console.is_terminal:
                used = sum(len(console.render_lines(part, options)) for part in (*above, *below))
                n_rows = max(LEAST_TRIALS, min(n_rows, console.height - used - 7))
            yield render_trials(progress, options.max_width, n_rows)
        if below:
            yield Text()
        yield from below


def render(progress: SweepProgress) -> RenderableType:
    return SweepTable(progress)


def _list_notes(progress: SweepProgress) -> list[str]:
    levels = {level for level in _list_rungs(progress) if level}
    passed = any(e.turns_seen not in levels for t in progress.trials for e in t.evals)
    return [*progress.ledger.notes[-1:], *([PASSED] if passed and levels else [])]


def _render_summary(progress: SweepProgress) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="ellipsis")
    grid.add_row("trials", _count_states(progress))
    grid.add_row("first", Text(_describe_best(progress), no_wrap=True, overflow="ellipsis"))
    grid.add_row("speed", _describe_speed(progress))
    if progress.since_s is not None:
        grid.add_row("slots", _describe_slots(progress))
    if progress.heartbeats.gpus:
        grid.add_row("GPUs", describe_gpus(progress.heartbeats.gpus))
    grid.add_row("spent", _describe_spent(progress))
    return grid


def _count_states(progress: SweepProgress) -> Text:
    counts = Counter(t.state for t in progress.trials)
    counts[WAITING] = len(progress.waiting)
    counts[RUNNING] -= counts[WAITING]
    told = Text(", ").join(
        Text(f"{counts[state]} {state.lower()}", style=STATE_STYLES[state])
        for state in (*STATES, WAITING)
        if counts[state]
    )
    return Text.assemble(told, f" of {progress.wanted}" if progress.wanted else "")


def _describe_best(progress: SweepProgress) -> str:
    best = progress.best
    if best is None:
        return "no score yet"
    trial, seeds = best.trial, f" x{len(best.trials)}" if len(best.trials) > 1 else ""
    params, turns = label_setting(trial.number, trial.params), best.milestone_turns
    label = label_objective(best.objective)
    score = f"{label} {format_score(best.value, best.objective)}"
    score = describe_loss(best) if best.value is None else score
    confirmed = ", confirmed" if best.is_confirmed else ""
    return f"{score}  (trial {trial.id}{seeds}{confirmed}, rung {turns}: {params})"


def describe_loss(point: PointResult) -> str:
    loss = point.mean("nats_per_word")
    return "no score yet" if loss is None else f"{loss:.3f} nats a word"


def _describe_speed(progress: SweepProgress) -> str:
    elapsed_s = progress.worked_s
    rate = progress.turns / elapsed_s if elapsed_s > 0 else 0.0
    left_s = progress.forecast(elapsed_s)
    forecast = f", about {format_duration(left_s)} left" if left_s else ""
    return f"{rate:.1f} turns/s over {format_duration(elapsed_s)}{forecast}"


def _describe_slots(progress: SweepProgress) -> str:
    busy = min(len(progress.at_work), progress.slots)
    evals = [e for t in progress.trials for e in t.evals]
    gpus = {gpu_of(e) for e in evals if e.place.get("gpu") is not None}
    where = f", GPUs: {len(gpus)}" if gpus else ""
    return f"{busy} of {progress.slots} busy ({100 * busy / progress.slots:.0f} %){where}"


def describe_gpus(gpus: Sequence[GpuUse]) -> str:
    """One by one where they are few.

    >>> from tune.terminal.heartbeats import GpuUse
    >>> describe_gpus([GpuUse("a", "0", 97.0, 41.2, 79.6)])
    'a 0: 97 %, 41 of 80 GiB'
    >>> describe_gpus([GpuUse("a", str(i), 90.0 + i, 40.0, 80.0) for i in range(8)])
    '8: 90 to 97 %, 40 to 40 of 80 GiB'
    """
    if len(gpus) <= SHOWN_GPUS:
        return "; ".join(
            f"{g.node} {g.id}: {g.percent:.0f} %, {g.used_gib:.0f} of {g.total_gib:.0f} GiB"
            for g in gpus
        )
    percents, used = [g.percent for g in gpus], [g.used_gib for g in gpus]
    return (
        f"{len(gpus)}: {min(percents):.0f} to {max(percents):.0f} %, {min(used):.0f} to "
        f"{max(used):.0f} of {max(g.total_gib for g in gpus):.0f} GiB"
    )


def _describe_spent(progress: SweepProgress) -> str:
    trials = list(progress.ledger.trials.values())
    hours, unit = count_gpu_hours(trials), name_hours(trials)
    left = progress.forecast(hours)
    more = f", about {format_hours(left, unit)} to come" if left else ""
    return f"{format_hours(hours, unit)}{more}"


def _list_rungs(progress: SweepProgress) -> list[int]:
    config = progress.config
    ends = [*(config.get("rungs_turns") or ()), config.get("train_turns") or 0]
    return [turns for turns in ends if turns]


def _render_rungs(progress: SweepProgress) -> Table:
    """Who got how far: each rung with the trials that reached it, and those that are on their way
    from there to the next."""
    milestones = _list_rungs(progress)
    rungs = count_rungs(progress.trials, milestones)
    widest = max((r.reached for r in rungs), default=0) or 1
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("rung", justify="right", no_wrap=True, min_width=6)
    table.add_column("reached", no_wrap=True, min_width=18)
    table.add_column("best", justify="right", no_wrap=True, min_width=5)
    table.add_column("on the way from here", no_wrap=True, overflow="ellipsis")
    table.add_row("0", "", "", _name_those_at(0, milestones, progress))
    for rung in rungs:
        bar = Table.grid(padding=(0, 1))
        line = make_bar(rung.reached, widest, width=12)
        bar.add_row(line, str(rung.reached))
        here = _name_those_at(rung.turns, milestones, progress)
        table.add_row(str(rung.turns), bar, _describe_best_at(rung, progress.objective), here)
    return table


def _describe_best_at(rung: Rung, objective: str) -> str:
    """The best value of the objective; the lowest loss where a rung generates nothing."""
    if rung.best is not None:
        return format_score(rung.best, objective)
    return "" if rung.lowest_loss is None else f"loss {rung.lowest_loss:.3f}"


def _name_those_at(turns: int, milestones: Sequence[int], progress: SweepProgress) -> str:
    here, waiting = (
        [t.id for t in trials if turns == max([s for s in milestones if t.eval_at(s)], default=0)]
        for trials in (progress.at_work, progress.waiting)
    )
    more = f" +{len(here) - SHOWN_HERE}" if len(here) > SHOWN_HERE else ""
    named = " ".join(here[:SHOWN_HERE]) + more
    return f"{named}  {len(waiting)} waiting".lstrip() if waiting else named
