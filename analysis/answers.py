"""What the sweep found, in sentences: one a question, each with its noise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from analysis.curves import common_turns, measure_gpu_hours, name_hours, scores_at, trained_turns
from analysis.importance import measure_importance, varying_fields
from analysis.labels import format_value, label_params
from analysis.leaderboard import describe
from analysis.plots.fields import is_logarithmic, is_numeric
from analysis.ranking import Entry
from analysis.records import SweepRecords, TrialRecord
from analysis.rows import format_combined
from trainable.evaluation.bootstrap import find_interval

DRAWS = 2000
MAX_OTHERS = 4
SIZE_FIELDS = ("lora_modules", "method", "base_model")  # decide how many parameters train


def answer(records: SweepRecords, entries: Sequence[Entry]) -> list[str]:
    """The sentences, the most important first. `entries` are the ranked configurations."""
    if not entries or entries[0].combined is None:
        return describe(records, entries).splitlines()
    trials, turns = _compared(records)
    fields = varying_fields(trials)
    scores = scores_at(records, turns)
    sentences = [_name_best(entries), _compare_base(entries), _weigh_noise(entries)]
    for field in fields:
        present = [t for t in trials if field in t.params]
        numeric = is_numeric([t.params[field] for t in present])
        say: Callable[..., str | None] = _locate_best if numeric else _compare_choices
        sentences.append(say(field, present, scores, turns))
    sentences += [_name_importance(records, turns), _price(records)]
    return [s for s in sentences if s]


def _compared(records: SweepRecords) -> tuple[list[TrialRecord], int]:
    turns = common_turns(records)
    scores = scores_at(records, turns)
    return [t for t in records.studied if t.id in scores], turns


def _name_best(entries: Sequence[Entry]) -> str:
    best = entries[0]
    seeds = f" over {len(best.trials)} seeds" if len(best.trials) > 1 else ""
    return (
        f"Best: trial {best.trial.id} reaches Combined {format_combined(best)}{seeds} "
        f"{_say_after(best.level_turns)} (BLEU {best.mean('bleu'):.1f}, Inform "
        f"{best.mean('inform'):.1f}, Success {best.mean('success'):.1f}) with "
        f"{label_params(best.trial.params) or 'nothing searched'}."
    )


def _say_after(turns: int) -> str:
    return f"after {turns} turns" if turns else "without training"


def _say_at(turns: int) -> str:
    return f" at {turns} turns" if turns else ""


def _compare_base(entries: Sequence[Entry]) -> str | None:
    base = next((e for e in entries if e.trial.is_base), None)
    if base is None or base is entries[0] or base.behind_best is None:
        return None
    spread = base.behind_interval
    noise = f" [{-spread[1]:.1f}, {-spread[0]:.1f}]" if spread else ""
    return (
        f"Against the untuned model: it gains {-base.behind_best:.1f}{noise} Combined on "
        f"{format_combined(base)}."
    )


def _weigh_noise(entries: Sequence[Entry]) -> str | None:
    compared = [e for e in entries if e.is_inside_noise is not None and not e.trial.is_base]
    near = [e.trial.id for e in compared if e.is_inside_noise]
    if not compared:
        return None
    if not near:
        return "The best stands clear of the noise: no other that trained as long comes near it."
    listed = ", ".join(near[:6]) + (" ..." if len(near) > 6 else "")
    verb = "is" if len(near) == 1 else "are"
    return (
        f"{len(near)} of the {len(compared)} others that trained as long {verb} inside its noise "
        f"({listed}): more dialogues or seeds would have to decide between them."
    )


def _compare_choices(
    field: str, trials: Sequence[TrialRecord], scores: dict[str, float], turns: int
) -> str | None:
    """`attention is best ...: it beats ffn by 2.1 ± 0.9 ...`: the best choice on average against
    the others."""
    groups: dict[str, list[TrialRecord]] = defaultdict(list)
    for trial in trials:
        groups[format_value(trial.params[field])].append(trial)
    means = {
        value: float(np.mean([scores[t.id] for t in members]))
        for value, members in groups.items()
        if len(members) >= 2
    }
    best, *others = sorted(means, key=lambda v: -means[v]) or [""]
    if not others:
        return None
    phrases = [_contrast(field, groups, (best, other), scores) for other in others[:MAX_OTHERS]]
    return (
        f"{field}: {best} has the highest mean{_say_at(turns)} ({means[best]:.1f} over "
        f"{len(groups[best])} trials): {'; '.join(phrases)}.{_name_peaks(groups)}"
    )


def _name_peaks(groups: dict[str, list[TrialRecord]]) -> str:
    """Each choice's best among the trials that trained longest."""
    last = {v: [t.replied[-1] for t in members] for v, members in groups.items()}
    longest = 0.95 * max(e.turns_seen for evals in last.values() for e in evals)
    peaks = {
        v: max(e.score for e in evals if e.turns_seen >= longest)
        for v, evals in last.items()
        if any(e.turns_seen >= longest for e in evals)
    }
    listed = ", ".join(f"{v} {peaks[v]:.1f}" for v in sorted(peaks, key=lambda v: -peaks[v]))
    return f" Best of those that trained longest: {listed}." if longest else ""


def _contrast(
    field: str,
    groups: dict[str, list[TrialRecord]],
    pair: tuple[str, str],
    scores: dict[str, float],
) -> str:
    first, second = (np.array([scores[t.id] for t in groups[v]]) for v in pair)
    gap = float(first.mean() - second.mean())
    draws = _draw_means(first, seed=0) - _draw_means(second, seed=1)
    low, high = find_interval(draws)
    figure = f"{gap:.1f} ± {(high - low) / 2:.1f} Combined"
    sizes = _compare_sizes(groups, pair) if field in SIZE_FIELDS else ""
    if low > 0:
        return f"it beats {pair[1]} by {figure}{sizes}"
    return f"{pair[1]} is within the noise (behind by {figure}{sizes})"


def _draw_means(values: np.ndarray, *, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, len(values)])
    return values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(axis=1)


def _compare_sizes(groups: dict[str, list[TrialRecord]], pair: tuple[str, str]) -> str:
    """`, attention training 0.33 times as many parameters`, where they differ."""
    medians = [
        float(np.median([_size_per_rank(t) for t in groups[v] if t.resolved] or [0])) for v in pair
    ]
    if not all(medians) or 0.9 < medians[0] / medians[1] < 1.1:
        return ""
    return f", {pair[0]} training {medians[0] / medians[1]:.2g} times as many parameters a rank"


def _size_per_rank(trial: TrialRecord) -> float:
    assert trial.resolved
    rank = trial.config.get("lora_rank")
    return trial.resolved.trainable_params / (rank if isinstance(rank, int) and rank > 0 else 1)


def _locate_best(
    field: str, trials: Sequence[TrialRecord], scores: dict[str, float], turns: int
) -> str | None:
    """Where the best quarter of the trials lies."""
    if len(trials) < 8:
        return None
    values = [t.params[field] for t in trials]
    ranked = sorted(trials, key=lambda t: -scores[t.id])[: max(3, len(trials) // 4)]
    low, high = (f(t.params[field] for t in ranked) for f in (min, max))
    best = np.median([t.params[field] for t in ranked])
    share = _span(low, high, values) / (_span(min(values), max(values), values) or 1.0)
    if share > 0.8:
        return f"{field}: the best quarter{_say_at(turns)} lies all over its range."
    return (
        f"{field}: the best quarter{_say_at(turns)} lies between {low:.2g} and "
        f"{high:.2g}, around {best:.2g} (tried: "
        f"{min(values):.2g} to {max(values):.2g})."
    )


def _span(low: float, high: float, values: Sequence[float]) -> float:
    return float(np.log(high / low)) if is_logarithmic(values) else float(high - low)


def _name_importance(records: SweepRecords, turns: int) -> str | None:
    measured = measure_importance(records, turns)
    if measured is None or len(measured.shares) < 2:
        return None
    listed = ", ".join(f"{k} {100 * v:.0f} %" for k, v in list(measured.shares.items())[:3])
    return (
        f"What decides who is among the best {100 * measured.top_share:.0f} %{_say_at(turns)}: "
        f"{listed} ({measured.n_trials} trials)."
    )


def _price(records: SweepRecords) -> str | None:
    searched = [t for t in records.searched if t.evals]
    full = sum(max(t.config.get("train_turns") or 0, t.evals[-1].turns_seen) for t in searched)
    trained = trained_turns(searched)
    hours = sum(measure_gpu_hours(searched).values())
    if not full or not trained:
        return None
    stopped = sum(t.state == "PRUNED" for t in searched)
    return (
        f"{stopped} of {len(searched)} trials were stopped early: {trained:,} system turns "
        f"in place of {full:,} ({100 * (1 - trained / full):.0f} % saved), {hours:.2g} "
        f"{name_hours(searched)}."
    )
