"""What the sweep found, in sentences: the verdict, the untuned model, the fields, the price."""

from collections.abc import Sequence

import numpy as np

from analysis.curves import (
    common_turns,
    is_by_loss,
    is_lower_better,
    measure_gpu_hours,
    name_hours,
    scores_at,
    trained_turns,
)
from analysis.importance import measure_importance, varying_fields
from analysis.labels import count_things, format_hours, format_score, label_objective, label_params
from analysis.leaderboard import describe
from analysis.plots.fields import is_logarithmic, is_numeric
from analysis.ranking import Entry
from analysis.records import SweepRecords, TrialRecord
from analysis.verdict import find_verdict
from analysis.wording import state

SHUFFLES = 2000
CHANCE = 0.005  # that a quarter of shuffled trials lies as close together; over all fields
FEWEST = 12  # trials of which a quarter says where to look


def answer(records: SweepRecords, entries: Sequence[Entry]) -> list[str]:
    """The sentences, the most important first. `entries` are the ranked configurations."""
    verdict = find_verdict(records)
    if verdict is None:
        return describe(records, entries).splitlines()
    first = next(e for e in entries if not e.trial.is_base)
    sentences = [*state(verdict), _name_first(first), _compare_base(entries, first)]
    return [s for s in [*sentences, *_tell_fields(records), _price(records)] if s]


def _name_first(first: Entry) -> str:
    where = f" after {first.milestone_turns:,} turns" if first.milestone_turns else ""
    seeds = f", the mean of {len(first.trials)} seeds" if len(first.trials) > 1 else ""
    return (
        f"First in rank: trial {first.trial.id} with {label_objective(first.objective)} "
        f"{format_score(first.value, first.objective)}{where}{seeds}"
        f"{_list_parts(first)}: {label_params(first.trial.params) or 'all fixed'}."
    )


def _list_parts(entry: Entry) -> str:
    """What stands beside the objective, in brackets."""
    rates = {"bleu": "BLEU", "inform": "Inform", "success": "Success"}
    known = {label: entry.mean(name) for name, label in rates.items() if name != entry.objective}
    parts = [f"{label} {value:.1f}" for label, value in known.items() if value is not None]
    return f" ({', '.join(parts)})" if parts else ""


def _compare_base(entries: Sequence[Entry], first: Entry) -> str | None:
    base = next((e for e in entries if e.trial.is_base), None)
    if base is None or base.behind_first is None or base.value is None:
        return None
    n_dialogues = base.evals[0].n_dialogues
    fewer = (
        f" on {n_dialogues} of these dialogues" if n_dialogues < first.evals[0].n_dialogues else ""
    )
    line = f"The untuned model has {format_score(base.value, base.objective)}{fewer}"
    less, digits = ("less" if base.evals[0].sign > 0 else "more"), base.digits
    if base.behind_interval is None:
        one_seed = (
            " than this single seed" if len(first.trials) == 1 and first.milestone_turns else ""
        )
        return f"{line}, {-base.behind_first:.{digits}f} {less}{one_seed}."
    low, high = -base.behind_interval[1], -base.behind_interval[0]
    return f"{line}, {low:.{digits}f} to {high:.{digits}f} {less} (95 % interval, {first.holds})."


def _tell_fields(records: SweepRecords) -> list[str | None]:
    """Of the fields, among trials at equal training: where the highest (or, where rungs look at
    the loss, the lowest) lie, and what matters."""
    turns = common_turns(records)
    is_low = is_lower_better(records, turns)
    scores = {t: -s if is_low else s for t, s in scores_at(records, turns).items()}
    trials = [t for t in records.studied if t.id in scores]
    numeric = [
        name
        for name in varying_fields(trials)
        if is_numeric([t.params[name] for t in trials if name in t.params])
    ]
    by_loss = is_by_loss(records, turns) or records.objective == "loss"
    label = "loss" if by_loss else label_objective(records.objective)
    what = f"with the {'lowest' if is_low else 'highest'} {label}"
    where = f"{what}{_say_at(turns)}"
    located = [
        _locate_highest(
            n, [t for t in trials if n in t.params], scores, where, CHANCE / len(numeric)
        )
        for n in numeric
    ]
    return [*located, _name_importance(records, turns)]


def _locate_highest(
    field: str, trials: Sequence[TrialRecord], scores: dict[str, float], where: str, chance: float
) -> str | None:
    """Where the highest quarter of the trials lies, if it lies closer together than chance would
    have it."""
    if len(trials) < FEWEST:
        return None
    scale = np.log if is_logarithmic([t.params[field] for t in trials]) else np.asarray
    ranked = sorted(trials, key=lambda t: -scores[t.id])
    values = np.array([float(t.params[field]) for t in ranked])
    n_highest = len(ranked) // 4
    places = scale(values)
    rng = np.random.default_rng(0)
    shuffled = rng.permuted(np.tile(places, (SHUFFLES, 1)), axis=1)[:, :n_highest]
    if np.mean(np.ptp(shuffled, axis=1) <= np.ptp(places[:n_highest])) > chance:
        return None
    highest = values[:n_highest]
    return (
        f"{field}: the quarter of {len(trials)} trials {where} lies between {highest.min():.2g} "
        f"and {highest.max():.2g} (tried: {values.min():.2g} to {values.max():.2g})."
    )


def _say_at(turns: int) -> str:
    return f" at {turns:,} turns" if turns else ""


def _name_importance(records: SweepRecords, turns: int) -> str | None:
    measured = measure_importance(records, turns)
    if measured is None:
        return None
    what = "losses" if is_by_loss(records, turns) else "scores"
    listed = ", ".join(f"{k} {100 * v:.0f} %" for k, v in list(measured.shares.items())[:3])
    return (
        f"What the {what} of {measured.n_trials} trials{_say_at(turns)} depend on: {listed} "
        f"(fANOVA; its trees explain {100 * measured.explained:.0f} % of the variance of trials "
        "that they have not seen)."
    )


def _price(records: SweepRecords) -> str | None:
    searched = [t for t in records.searched if t.evals]
    full = sum(max(t.config.get("train_turns") or 0, t.evals[-1].turns_seen) for t in searched)
    trained = trained_turns(searched)
    hours = sum(measure_gpu_hours(searched).values())
    if not full or not trained:
        return None
    cost = f", {format_hours(hours, name_hours(searched))}" if hours else ""
    stopped = sum(t.state == "PRUNED" for t in searched)
    if not stopped:
        return f"Price: trained on {trained:,} system turns{cost}."
    again = sum(t.is_confirmation for t in searched)
    then = f", then {count_things(again, 'confirmation')}" if again else ""
    raced = count_things(len(searched) - again, "trial")
    saved = f"{100 * (1 - trained / full):.0f} % saved"
    return (
        f"Price: {stopped} of {raced} stopped early{then}; trained on {trained:,} system turns, "
        f"where all to their end would be {full:,} ({saved}){cost}."
    )
