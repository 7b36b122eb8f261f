"""The live table of a sweep, as the terminal shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from analysis.choice import PointResult
from analysis.curves import count_rungs, draw_sparkline, gpu_of, measure_gpu_hours, name_hours
from analysis.labels import label_setting
from analysis.records import RUNNING, STATES, TrialRecord
from tune.terminal.bars import render_activity
from tune.terminal.progress import Progress, format_duration

if TYPE_CHECKING:
    from tune.terminal.signs import GpuUse

STATE_STYLES = {"COMPLETE": "green", "PRUNED": "yellow", "RUNNING": "cyan", "FAIL": "red"}
SHOWN_TRIALS = 16
SHOWN_HERE = 6  # trials named at a rung
SHOWN_GPUS = 4
CURVE_POINTS = 8


def render(progress: Progress) -> RenderableType:
    parts: list[RenderableType] = [
        Text(progress.sweep.get("name", ""), style="bold"),
        _render_summary(progress),
        "",
        _render_rungs(progress),
    ]
    if progress.at_work:
        parts += ["", _render_at_work(progress)]
    if progress.ledger.notes:
        parts += ["", Text(progress.ledger.notes[-1], style="dim")]
    return Group(*parts)


def _render_summary(progress: Progress) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_row("trials", _count_states(progress))
    grid.add_row("first", _describe_best(progress))
    grid.add_row("speed", _describe_speed(progress))
    if progress.since_s is not None:
        grid.add_row("slots", _describe_slots(progress))
    if progress.signs.gpus:
        grid.add_row("GPUs", describe_gpus(progress.signs.gpus))
    grid.add_row("spent", _describe_spent(progress))
    return grid


def _count_states(progress: Progress) -> Text:
    states = [t.state for t in progress.trials]
    counts = Text(", ").join(
        Text(f"{n} {state.lower()}", style=STATE_STYLES[state])
        for state in STATES
        if (n := states.count(state))
    )
    return Text.assemble(counts, f" of {progress.wanted}" if progress.wanted else "")


def _describe_best(progress: Progress) -> str:
    best = progress.best
    if best is None:
        return "no score yet"
    trial, seeds = best.trial, f" x{len(best.trials)}" if len(best.trials) > 1 else ""
    params, turns = label_setting(trial.number, trial.params), best.level_turns
    score = f"Combined {best.combined:.1f}" if best.combined is not None else describe_loss(best)
    confirmed = ", confirmed" if best.is_confirmed else ""
    return f"{score}  (trial {trial.id}{seeds}{confirmed}, {turns} turns: {params})"


def describe_loss(point: PointResult) -> str:
    loss = point.mean("nats_per_word")
    return "no score yet" if loss is None else f"{loss:.3f} nats a word"


def _describe_speed(progress: Progress) -> str:
    elapsed_s = progress.worked_s
    rate = progress.turns / elapsed_s if elapsed_s > 0 else 0.0
    left_s = progress.forecast(elapsed_s)
    forecast = f", about {format_duration(left_s)} left" if left_s else ""
    return f"{rate:.1f} turns/s over {format_duration(elapsed_s)}{forecast}"


def _describe_slots(progress: Progress) -> str:
    busy = min(len(progress.at_work), progress.slots)
    evals = [e for t in progress.trials for e in t.evals]
    gpus = {gpu_of(e) for e in evals if e.place.get("gpu") is not None}
    where = f", GPUs: {len(gpus)}" if gpus else ""
    return f"{busy} of {progress.slots} busy ({100 * busy / progress.slots:.0f} %){where}"


def describe_gpus(gpus: Sequence[GpuUse]) -> str:
    """One by one where they are few.

    >>> from tune.terminal.signs import GpuUse
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


def _describe_spent(progress: Progress) -> str:
    trials = list(progress.ledger.trials.values())
    hours = sum(measure_gpu_hours(trials).values())
    left = progress.forecast(hours)
    more = f", about {left:.2f} to come" if left else ""
    return f"{hours:.2f} {name_hours(trials)}{more}"


def _render_rungs(progress: Progress) -> Table:
    """Who got how far: each station with the trials that reached it, and those that are on their
    way from there to the next."""
    config = progress.sweep.get("config", {})
    ends = [*(config.get("rungs_turns") or ()), config.get("train_turns") or 0]
    stations = [turns for turns in ends if turns]
    trials = progress.trials
    rungs = count_rungs(trials, stations)
    widest = max((r.reached for r in rungs), default=0) or 1
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("turns", justify="right", no_wrap=True, min_width=6)
    table.add_column("reached", no_wrap=True, min_width=24)
    table.add_column("highest", justify="right", no_wrap=True, min_width=5)
    table.add_column("on the way from here", no_wrap=True, overflow="ellipsis")
    table.add_row("0", "", "", _name_those_at(0, stations, trials))
    for rung in rungs:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(ProgressBar(total=widest, completed=rung.reached, width=18), str(rung.reached))
        best = "" if rung.best is None else f"{rung.best:.1f}"
        table.add_row(str(rung.turns), bar, best, _name_those_at(rung.turns, stations, trials))
    return table


def _name_those_at(turns: int, stations: Sequence[int], trials: Sequence[TrialRecord]) -> str:
    here = [
        t.id
        for t in trials
        if t.state == RUNNING and turns == max([s for s in stations if t.eval_at(s)], default=0)
    ]
    more = f" +{len(here) - SHOWN_HERE}" if len(here) > SHOWN_HERE else ""
    return " ".join(here[:SHOWN_HERE]) + more


def _render_at_work(progress: Progress) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("trial", no_wrap=True, min_width=5)
    table.add_column("turns", justify="right", no_wrap=True, min_width=6)
    table.add_column("Combined", justify="right", no_wrap=True, min_width=8)
    table.add_column("curve", no_wrap=True, min_width=CURVE_POINTS)
    if progress.signs.activities:
        table.add_column("now", no_wrap=True, min_width=20)
    table.add_column("searched", no_wrap=True, overflow="ellipsis")
    at_work = progress.at_work
    highest = max((e.score for t in progress.trials for e in t.replied), default=100.0)
    for trial in at_work[:SHOWN_TRIALS]:
        scores = [e.score for e in trial.replied]
        curve = draw_sparkline(scores[-CURVE_POINTS:], high=highest)
        turns = str(trial.last.turns_seen) if trial.last else ""
        score = f"{scores[-1]:.1f}" if scores else ""
        activity = progress.signs.activities.get(trial.id)
        now = [render_activity(activity, width=8) if activity else ""]
        shown = now if progress.signs.activities else []
        table.add_row(
            trial.id, turns, score, curve, *shown, label_setting(trial.number, trial.params)
        )
    if len(at_work) > SHOWN_TRIALS:
        table.add_row(f"+{len(at_work) - SHOWN_TRIALS}")
    return table
