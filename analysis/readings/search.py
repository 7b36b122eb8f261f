"""How sure and how fast the search was, in words."""

from collections import defaultdict

import numpy as np
import plotly.graph_objects as go

from analysis.curves import common_turns, is_lower_better
from analysis.labels import count_things, enumerate_texts, format_signed
from analysis.readings.numbers import name_compared, show_compared, show_score, tell_correlation
from analysis.records import SweepRecords

SHOWN = 3  # groups


def read_rates(figure: go.Figure, records: SweepRecords) -> str:
    sign = -1 if is_lower_better(records, common_turns(records)) else 1
    tops = []
    for trace in figure.data:
        value = max(trace.y, key=lambda y: sign * y)
        tops.append((value, trace.name, trace.x[list(trace.y).index(value)]))
    tops.sort(key=lambda top: -sign * top[0])
    listed = [f"{name} at {rate:.2g} ({show_compared(records, v)})" for v, name, rate in tops]
    only = f"a learning rate of {tops[0][2]:.2g} ({show_compared(records, tops[0][0])})"
    where = enumerate_texts(listed[:SHOWN]) if len(tops) > 1 else only
    rates = [x for trace in figure.data for x in trace.x]
    values = [y for trace in figure.data for y in trace.y]
    together = tell_correlation("rate and value", rates, values)
    return f"Best {name_compared(records)}: {where}. {together}"


def read_seeds(figure: go.Figure, records: SweepRecords) -> str:
    seeds, means = figure.data
    groups: dict[str, list[float]] = defaultdict(list)
    for rank, value in zip(seeds.x, seeds.y, strict=True):
        groups[rank].append(value)
    spans = [max(values) - min(values) for values in groups.values()]
    apart = f"{show_score(records, float(np.mean(spans)))} apart"
    widest = show_score(records, max(spans))
    several = f" on average, {widest} at most" if len(spans) > 1 else ""
    first = f"Seeds of one point lie {apart}{several}."
    if len(means.y) < 2:
        return f"{first} Only one point has several."
    gap = abs(means.y[0] - means.y[1])
    than = "less" if gap < float(np.mean(spans)) else "more"
    return (
        f"{first} The means of ranks {means.x[0]} and {means.x[1]} lie "
        f"{show_score(records, gap)} apart, {than} than that."
    )


def read_rungs(figure: go.Figure, records: SweepRecords) -> str:
    (bar,) = figure.data
    listed = [
        f"{rung} {format_signed(height, 2)} ({n})"
        for rung, height, n in zip(bar.x, bar.y, bar.text, strict=True)
    ]
    last = max(records.milestones_turns)
    return (
        f"Rank correlation with the order at {last:,} turns: {enumerate_texts(listed)}. At 1 a "
        "rung would order trials as the end does, at 0 not at all; those that it stopped are not "
        "among them."
    )


def read_regret(figure: go.Figure, records: SweepRecords) -> str:
    (line,) = figure.data
    found = next(x for x, y in zip(line.x, line.y, strict=True) if y <= 0)
    total = line.x[-1]
    half = [y for x, y in zip(line.x, line.y, strict=True) if x <= total / 2]
    then = (
        f"the best so far lay {show_score(records, half[-1])} below" if half else "none had ended"
    )
    return (
        f"The final highest was there after {found:,} of {total:,} system turns "
        f"({100 * found / total:.0f} %). At half of them, {then}."
    )


def read_distribution(figure: go.Figure, records: SweepRecords) -> str:
    every, *groups = figure.data
    low, middle, high = np.quantile(every.x, [0.25, 0.5, 0.75])
    quarters = f"{show_compared(records, low)} and {show_compared(records, high)}"
    first = (
        f"Half of {count_things(len(every.x), 'trial')} have at most "
        f"{show_compared(records, middle)} ({name_compared(records)}), and the middle half lies "
        f"between {quarters}."
    )
    if not groups:
        return f"{first} There are no choices to tell apart."
    ranked = sorted(groups, key=lambda trace: -float(np.median(trace.x)))
    if is_lower_better(records, common_turns(records)):
        ranked.reverse()
    medians = [f"{t.name} {show_compared(records, float(np.median(t.x)))}" for t in ranked[:SHOWN]]
    return f"{first} Medians of the choices: {enumerate_texts(medians)}."
