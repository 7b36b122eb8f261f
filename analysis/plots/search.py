"""Figures of the search itself: how sure, how fast, and how far its rungs could be trusted."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import plotly.graph_objects as go

from analysis.curves import common_turns, name_scores, scores_at
from analysis.importance import varying_fields
from analysis.labels import format_value, label_objective, label_params
from analysis.plots.style import BLUE, GREY, ORANGE, NothingToPlot, make_figure
from analysis.ranking import rank_trials
from analysis.records import EvalRecord, SweepRecords, TrialRecord

MOST_CHOICES = 8  # colours that an eye tells apart
LEAST_COMMON = 5  # trials of which a rank correlation says something
MOST_POINTS = 20


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A trial that trained longest."""

    turns: int  # that all trials had trained by then
    score: float
    trial: str


def plot_rates(records: SweepRecords) -> go.Figure:
    """The objective, or the loss where rungs decide by it, against the learning rate at equal
    training, coloured by the adapted layers or by the first field of choices."""
    turns = common_turns(records)
    scores = scores_at(records, turns)
    rated = [t for t in records.searched if t.id in scores and _rate(t) is not None]
    if len({_rate(t) for t in rated}) < 3:
        raise NothingToPlot("needs three learning rates at equal training")
    groups = _group_by_choice(rated)
    traces = [
        go.Scatter(
            x=[_rate(t) for t in members],
            y=[scores[t.id] for t in members],
            text=[f"trial {t.id}: {label_params(t.params)}" for t in members],
            name=name,
            mode="markers",
            marker={"size": 9, "opacity": 0.8},
            hovertemplate="%{text}<br>%{y:.4g}<extra></extra>",
        )
        for name, members in groups.items()
    ]
    figure = make_figure(traces, x="learning rate", y=f"{name_scores(records, turns)} turns")
    return figure.update_xaxes(type="log").update_layout(showlegend=len(groups) > 1)


def _rate(trial: TrialRecord) -> float | None:
    value = trial.params.get("learning_rate")
    return float(value) if isinstance(value, int | float) and value > 0 else None


def _group_by_choice(trials: Sequence[TrialRecord]) -> dict[str, list[TrialRecord]]:
    """By the layers, else by the first field of few texts; all in one group where there is none."""
    fields = varying_fields(trials)
    texts = [n for n in fields if all(isinstance(t.params.get(n, ""), str) for t in trials)]
    few = [n for n in texts if len({t.params.get(n) for t in trials}) <= MOST_CHOICES]
    chosen = next(iter(sorted(few, key=lambda n: n != "lora_modules")), None)
    groups: dict[str, list[TrialRecord]] = defaultdict(list)
    for trial in trials:
        value = trial.params.get(chosen, "none") if chosen else "trials"
        groups[format_value(value)].append(trial)
    return dict(sorted(groups.items()))


def plot_seeds(records: SweepRecords) -> go.Figure:
    """Each seed's value of the points that were trained with several, in their rank's order; the
    line is a point's mean."""
    ranked = [e for e in rank_trials(records) if len(e.trials) > 1 and e.value is not None]
    if not ranked:
        raise NothingToPlot("no point was trained with several seeds (--seeds, --confirm)")
    shown = ranked[:MOST_POINTS]
    pairs = [
        (str(e.rank), t, v.value)
        for e in shown
        for t, v in zip(e.trials, e.evals, strict=True)
        if v.value is not None
    ]
    seeds = go.Scatter(
        x=[rank for rank, _, _ in pairs],
        y=[score for _, _, score in pairs],
        text=[f"trial {t.id}, seed {t.config.get('seed')}" for _, t, _ in pairs],
        customdata=[label_params(t.params) for _, t, _ in pairs],
        name="a seed",
        mode="markers",
        marker={"size": 8, "color": BLUE, "opacity": 0.7},
        hovertemplate="%{text}: %{y:.1f}<br>%{customdata}<extra></extra>",
    )
    means = go.Scatter(
        x=[str(e.rank) for e in shown],
        y=[e.value for e in shown],
        name="mean",
        mode="markers",
        marker={"symbol": "line-ew", "size": 22, "line": {"width": 3, "color": ORANGE}},
        hovertemplate="rank %{x}: %{y:.1f} on average<extra></extra>",
    )
    figure = make_figure([seeds, means], x="rank", y=label_objective(records.objective))
    return figure.update_xaxes(type="category")


def plot_rung_correlation(records: SweepRecords) -> go.Figure:
    """How well each rung foretold the end: Spearman's rank correlation of what it decided by (the
    loss turned round, or the score) with the score at the end, among those that got there. Only
    survivors are among them, which makes it lower than it would be for all."""
    from scipy.stats import spearmanr

    *rungs, last = [level for level in records.milestones_turns if level] or [0]
    names, heights, counts = [], [], []
    for rung in rungs:
        pairs = [
            (_value(early), late.score)
            for t in records.searched
            if (early := t.eval_at(rung)) and early.turns_seen < last and (late := t.eval_at(last))
            if not t.is_confirmation  # scored on other dialogues
            if late.value is not None and _value(early) is not None
        ]
        if len(pairs) >= LEAST_COMMON and all(len(set(c)) > 1 for c in zip(*pairs, strict=True)):
            names.append(f"{rung} turns")
            heights.append(float(spearmanr(*zip(*pairs, strict=True)).statistic))
            counts.append(len(pairs))
    if not names:
        raise NothingToPlot(f"needs {LEAST_COMMON} trials that passed a rung and reached the end")
    bar = go.Bar(
        x=names,
        y=heights,
        text=[f"{n} trials" for n in counts],
        marker_color=BLUE,
        hovertemplate="%{x}: %{y:.2f} (%{text})<extra></extra>",
    )
    figure = make_figure([bar], x="rung", y=f"rank correlation with {last} turns")
    return figure.update_yaxes(range=[min(0.0, *heights) - 0.05, 1.05])


def _value(evaluation: EvalRecord) -> float | None:
    """Higher is better."""
    if evaluation.value is not None:
        return evaluation.score
    return None if evaluation.nats_per_word is None else -evaluation.nats_per_word


def plot_regret(records: SweepRecords) -> go.Figure:
    """How far the highest score so far lay below the highest of all, among trials that trained
    longest, over the turns that all trials had trained by then."""
    steps, spent = list_finished(records)
    if len(steps) < 2:
        raise NothingToPlot("needs two trials that trained to the end")
    highest = list(accumulate((step.score for step in steps), max))
    regrets = [highest[-1] - value for value in highest]
    line = go.Scatter(
        x=[step.turns for step in steps] + [spent],
        y=[*regrets, regrets[-1]],
        text=[f"trial {step.trial}: {step.score:.1f}" for step in steps] + [""],
        mode="lines+markers",
        line={"shape": "hv", "color": ORANGE},
        hovertemplate="%{x} turns: %{y:.1f} below the highest<br>%{text}<extra></extra>",
    )
    figure = make_figure([line], x="system turns trained, all trials", y="below the final highest")
    return figure.update_xaxes(exponentformat="none", separatethousands=True)


def list_finished(records: SweepRecords) -> tuple[list[Finished], int]:
    """The scores after the longest training in the order of time, and the turns of all trials."""
    last = max(records.milestones_turns, default=0)
    raced = [t for t in records.searched if not t.is_confirmation]  # on the same dialogues
    evals = [(e.time_s, t, e) for t in raced for e in t.evals]
    reached: dict[str, int] = {}
    spent, steps = 0, []
    for _, trial, e in sorted(evals, key=lambda found: found[0]):
        spent += e.turns_seen - reached.get(trial.id, 0)
        reached[trial.id] = e.turns_seen
        if e.value is not None and records.milestone_turns(e.turns_seen) == last:
            steps.append(Finished(turns=spent, score=e.score, trial=trial.id))
    return steps, spent


def plot_distribution(records: SweepRecords) -> go.Figure:
    """The share of trials with at most that value (or loss, where rungs decide by it) at equal
    training: the empirical distribution function. It tells of all of a choice's trials, not only of
    its highest."""
    turns = common_turns(records)
    scores = scores_at(records, turns)
    trials = [t for t in records.searched if t.id in scores]
    if len(trials) < 3:
        raise NothingToPlot("needs three trials at equal training")
    groups = {n: m for n, m in _group_by_choice(trials).items() if len(m) > 1}
    named = {"all": trials, **(groups if len(groups) > 1 else {})}
    traces = []
    for name, members in named.items():
        values = sorted(scores[t.id] for t in members)
        traces.append(
            go.Scatter(
                x=values,
                y=[100 * (i + 1) / len(values) for i in range(len(values))],
                name=f"{name} ({len(values)})",
                mode="lines",
                line={"shape": "hv", **({"color": GREY, "width": 4} if name == "all" else {})},
                hovertemplate="%{y:.0f} % have at most %{x:.4g}<extra></extra>",
            )
        )
    return make_figure(traces, x=f"{name_scores(records, turns)} turns", y="% of the trials")
