"""One good against another, in words: cost, size, BLEU against Success."""

import plotly.graph_objects as go

from analysis.curves import name_hours
from analysis.labels import count_things, format_count, format_hours
from analysis.readings.numbers import show_score, tell_correlation
from analysis.records import SweepRecords


def read_parameters(figure: go.Figure, records: SweepRecords) -> str:
    points = [(x, y) for trace in figure.data for x, y in zip(trace.x, trace.y, strict=True)]
    best = max(points, key=lambda point: records.sign * point[1])
    sizes = [x for x, _ in points]
    return (
        f"The best value, {show_score(records, best[1])}, comes with {format_count(best[0])} "
        f"parameters; {format_count(min(sizes))} to {format_count(max(sizes))} were tried. "
        f"{tell_correlation('number and value', sizes, [y for _, y in points])}"
    )


def read_bleu_success(figure: go.Figure, records: SweepRecords) -> str:
    """Of those that trained longest: the figure's first colour."""
    longest = figure.data[0]
    bleu, success = list(longest.x), list(longest.y)
    names = [text.partition(":")[0] for text in longest.text]
    fluent, able = bleu.index(max(bleu)), success.index(max(success))
    highest = f"{names[fluent]} has the highest BLEU ({bleu[fluent]:.1f})"
    other = f"{names[able]} the highest Success ({success[able]:.1f})"
    both = f"{highest} and the highest Success ({success[able]:.1f})"
    where = f"Among those at {longest.name}, " if "turns" in longest.name else ""
    first = both if bleu[able] == max(bleu) else f"{highest}, {other}"
    start = f"{where}{first}"
    together = tell_correlation("the two", bleu, success)
    return f"{start[0].upper()}{start[1:]}. {together}"


def read_pareto(figure: go.Figure, records: SweepRecords) -> str:
    every, front = figure.data
    unit = name_hours(records.trials)
    costs = [format_hours(hours, unit) for hours in (front.x[0], front.x[-1])]
    values = [show_score(records, value) for value in (front.y[0], front.y[-1])]
    n = f"{len(front.x)} of {count_things(len(every.x), 'trial')}"
    if len(front.x) == 1:
        return (
            f"One trial, with {values[0]} for {costs[0]}, is better than all that were as cheap. "
            f"{len(every.x) - 1} others cost more for less, or were scored on other dialogues."
        )
    return (
        f"The line begins with {values[0]} for {costs[0]} and ends with {values[1]} for "
        f"{costs[1]}, {front.x[-1] / front.x[0]:.1f} times as much. {n} lie on it; for each of the "
        "others one on the line is at least as good and cheaper, or it was scored on other "
        "dialogues."
    )
