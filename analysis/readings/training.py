"""How training went, in words: curves, history, the race, who ran when."""

import plotly.graph_objects as go

from analysis.labels import count_things, label_objective
from analysis.plots.training import list_best_so_far
from analysis.ranking import find_best
from analysis.readings.numbers import show_score
from analysis.records import EvalRecord, SweepRecords


def read_curves(figure: go.Figure, records: SweepRecords) -> str:
    scored = [t for t in records.scored if not t.is_base]
    levels = [records.milestone_turns(t.replied[-1].turns_seen) for t in scored]
    last = max(levels)
    base = next((t.replied[-1].value for t in records.scored if t.is_base), None)
    untuned = f"; the untuned model has {show_score(records, base)}" if base is not None else ""
    first = find_best(records)
    if not last or first is None:
        values = [t.replied[-1].value or 0.0 for t in scored]
        return (
            f"Nothing was trained: {count_things(len(scored), 'trial')} stand at 0 turns. Their "
            f"{label_objective(records.objective)} lies between {show_score(records, min(values))} "
            f"and {show_score(records, max(values))}{untuned}."
        )
    counted = f"{levels.count(last):,} of {count_things(len(records.searched), 'trial')}"
    return (
        f"{_tell_rise(records, first.trial.id, first.trial.replied)} "
        f"{counted} trained for {last:,} turns, the longest there was{untuned}."
    )


def _tell_rise(records: SweepRecords, trial: str, evals: tuple[EvalRecord, ...]) -> str:
    """Along marks that compare: those of one number of dialogues."""
    label = label_objective(records.objective)
    run = [e for e in evals if e.n_dialogues == evals[-1].n_dialogues]
    start, end = run[0], run[-1]
    reached = f"{label} {show_score(records, end.value or 0.0)} at {end.turns_seen:,} turns"
    if start is end:
        return f"Trial {trial}, the first in rank, has {reached}."
    before = f"{show_score(records, start.value or 0.0)} at {start.turns_seen:,}"
    return f"Trial {trial}, the first in rank, came from {before} to {reached}."


def read_history(figure: go.Figure, records: SweepRecords) -> str:
    scored = [t for t in records.scored if not t.is_base and not t.is_confirmation]
    number, value = list_best_so_far(records, scored)[-1]
    before = sum(t.number <= number for t in scored)
    tried = f"{before:,} of {count_things(len(scored), 'trial')}"
    after = len(scored) - before
    rest = f"{after:,} came after it" if after else "It was the last"
    return (
        f"The best of those that trained longest, {show_score(records, value)}, was there after "
        f"{tried}. {rest}, and the line {_count_rises(records)}."
    )


def _count_rises(records: SweepRecords) -> str:
    scored = [t for t in records.scored if not t.is_base and not t.is_confirmation]
    n = len(list_best_so_far(records, scored)) - 1
    return {0: "never rose", 1: "rose once", 2: "rose twice"}.get(n, f"rose {n} times")


def read_funnel(figure: go.Figure, records: SweepRecords) -> str:
    went_on, stopped = ([int(n) for n in trace.x] for trace in figure.data)
    names = list(figure.data[0].y)
    reached = [a + b for a, b in zip(went_on, stopped, strict=True)]
    first = f"{count_things(reached[0], 'trial')} reached {names[0]}"
    if len(names) == 1:
        return f"{first}, the only rung. Nothing was stopped before it."
    most = max(range(len(names)), key=lambda i: stopped[i])
    if not stopped[most]:
        return f"{first}, {reached[-1]:,} reached {names[-1]}. No trial was stopped early."
    return (
        f"{first}, {reached[-1]:,} of them {names[-1]}. The sharpest cut was at {names[most]}, "
        f"where {stopped[most]:,} of {reached[most]:,} were stopped."
    )


def read_timeline(figure: go.Figure, records: SweepRecords) -> str:
    bars = [
        (row, float(start), float(length), trial)
        for trace in figure.data
        for row, start, length, trial in zip(trace.y, trace.base, trace.x, trace.text, strict=True)
    ]
    minutes = max(start + length for _, start, length, _ in bars)
    n_rows = len({row for row, *_ in bars})
    share = 100 * sum(length for _, _, length, _ in bars) / (n_rows * minutes)
    longest = max(bars, key=lambda bar: bar[2])
    return (
        f"{count_things(n_rows, 'row')} over {minutes:.1f} minutes, filled for {share:.0f} % of "
        f"the time. The longest stretch without an evaluation, {longest[2]:.1f} minutes, was of "
        f"trial {longest[3]}."
    )
