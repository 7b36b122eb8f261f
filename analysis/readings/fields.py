"""What the searched fields do, in words: slices, importance, contour, parallel coordinates."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.curves import common_turns, is_lower_better, scores_at
from analysis.importance import measure_importance, varying_fields
from analysis.labels import count_things, enumerate_texts, format_signed, format_value
from analysis.readings.numbers import CHANCE, correlate, name_compared, show_compared
from analysis.records import SweepRecords, TrialRecord

SHOWN = 3  # fields, choices of a field
OTHERS = "The other fields vary along with it, so that its marks show their effects too."


def read_slices(figure: go.Figure, records: SweepRecords) -> str:
    """The number that goes most closely with the score, the choice that sets it furthest apart."""
    what = name_compared(records)
    numbers: dict[str, Any] = {}
    choices: dict[str, Any] = {}
    for i, trace in enumerate(figure.data):
        name = figure.layout[f"xaxis{i + 1 if i else ''}"].title.text
        is_choice = isinstance(trace.x[0], str)
        (choices if is_choice else numbers)[name] = trace
    told = [_tell_number(numbers, what), _tell_choice(choices, what, records)]
    told = [sentence for sentence in told if sentence]
    if len(told) < 2:
        told.append(OTHERS if len(figure.data) > 1 else _tell_spread(figure.data[0], records))
    return " ".join(told)


def _tell_number(traces: dict[str, Any], what: str) -> str:
    if not traces:
        return ""
    found = {name: correlate(trace.x, trace.y) for name, trace in traces.items()}
    name = max(found, key=lambda n: abs(found[n][0]))
    rho, chance = found[name]
    more = "more than chance makes" if chance * len(found) < CHANCE else "which chance can make"
    among = f"Of {len(found)} numbers, {name}" if len(found) > 1 else name
    verb = "goes most closely with" if len(found) > 1 else "goes with"
    return f"{among} {verb} {what}: a rank correlation of {format_signed(rho, 2)}, {more}."


def _tell_choice(traces: dict[str, Any], what: str, records: SweepRecords) -> str:
    if not traces:
        return ""
    means = {name: _average(trace) for name, trace in traces.items()}
    name = max(means, key=lambda n: max(means[n].values()) - min(means[n].values()))
    ranked = sorted(means[name].items(), key=lambda pair: -pair[1])
    if is_lower_better(records, common_turns(records)):
        ranked.reverse()
    shown = ranked if len(ranked) <= SHOWN + 1 else [*ranked[:SHOWN], ranked[-1]]
    told = enumerate_texts([f"{value} {show_compared(records, mean)}" for value, mean in shown])
    among = f"Of {len(means)} choices, {name} sets" if len(means) > 1 else f"{name} sets"
    furthest = "furthest apart" if len(means) > 1 else "apart"
    return f"{among} mean {what} {furthest}: {told}."


def _tell_spread(trace: Any, records: SweepRecords) -> str:
    apart = show_compared(records, max(trace.y) - min(trace.y))
    return f"All {count_things(len(trace.y), 'trial')} lie within {apart}."


def _average(trace: Any) -> dict[str, float]:
    groups: dict[str, list[float]] = defaultdict(list)
    for value, score in zip(trace.x, trace.y, strict=True):
        groups[value].append(score)
    return {value: float(np.mean(scores)) for value, scores in groups.items()}


def read_importance(figure: go.Figure, records: SweepRecords) -> str:
    measured = measure_importance(records, common_turns(records))
    assert measured is not None, "it was drawn"
    listed = [f"{name} {100 * v:.0f} %" for name, v in list(measured.shares.items())[:SHOWN]]
    return (
        f"Of what single fields explain, {enumerate_texts(listed)}. The trees explain "
        f"{100 * measured.explained:.0f} % of the variance of trials that they have not seen; the "
        "rest is noise, and what fields do together."
    )


def read_contour(figure: go.Figure, records: SweepRecords) -> str:
    heat = figure.data[0]
    rows = [(str(y), [v for v in z if v is not None]) for y, z in zip(heat.y, heat.z, strict=True)]
    places = [
        (turns, heat.x[list(z).index(max(known, key=lambda v: records.sign * v))])
        for (turns, known), z in zip(rows, heat.z, strict=True)
    ]
    (early, first), (late, last) = places[0], places[-1]
    empty = sum(v is None for z in heat.z for v in z)
    return (
        f"The best value lies near a learning rate of {first:.2g} after {early} turns, and of "
        f"{last:.2g} after {late}. {empty} of {len(heat.z) * len(heat.x)} fields "
        "are empty: no trial trained so long at such a rate."
    )


def read_parallel(figure: go.Figure, records: SweepRecords) -> str:
    """The best quarter of the lines against the worst."""
    turns = common_turns(records)
    scores = scores_at(records, turns)
    ranked = sorted((t for t in records.searched if t.id in scores), key=lambda t: -scores[t.id])
    if is_lower_better(records, turns):
        ranked.reverse()
    n = max(len(ranked) // 4, 1)
    told = sorted(varying_fields(ranked), key=lambda f: -_differ(f, ranked[:n], ranked[-n:]))
    best, worst = (
        "; ".join(_tell_values(f, chosen) for f in told[:SHOWN])
        for chosen in (ranked[:n], ranked[-n:])
    )
    lines = f"{n} best lines of {len(ranked)}" if n > 1 else "best line"
    return f"The {lines}: {best}. The worst: {worst}."


def _differ(field: str, some: Sequence[TrialRecord], others: Sequence[TrialRecord]) -> float:
    """How far apart a field lies in two groups, 0..1: the largest distance of their distribution
    functions; of choices, half the sum of the distances of their shares."""
    one: list[Any] = [t.params.get(field) for t in some]
    other: list[Any] = [t.params.get(field) for t in others]
    if all(isinstance(v, int | float) for v in (*one, *other)):
        steps = sorted({*one, *other})
        gaps = [np.mean([v <= s for v in one]) - np.mean([v <= s for v in other]) for s in steps]
        return float(np.max(np.abs(gaps)))
    shares = [one.count(v) / len(one) - other.count(v) / len(other) for v in {*one, *other}]
    return sum(map(abs, shares)) / 2


def _tell_values(field: str, trials: Sequence[TrialRecord]) -> str:
    values = [t.params[field] for t in trials if field in t.params]
    if not values:
        return f"no {field}"
    if len(set(values)) > 1 and all(isinstance(v, int | float) for v in values):
        return f"{field} {format_value(min(values))} to {format_value(max(values))}"
    counts = Counter(map(format_value, values)).most_common(SHOWN)
    told = [f"{value} ({n})" if len(counts) > 1 else value for value, n in counts]
    return f"{field} {enumerate_texts(told)}"
