"""Which searched fields decide who is among the best: conditional PED-ANOVA (Optuna's; arXiv
2304.10255 and 2601.20800), at one fidelity at a time."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.curves import scores_at
from analysis.records import SweepRecords, TrialRecord

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MIN_TRIALS = 10
DIGITS = 9  # of a share: those after them differ from processor to processor
MIN_TOP_TRIALS = 5  # PED-ANOVA is stable from about five trials above its quantile


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How much each field matters for being among the best `top_share` of the trials."""

    turns: int  # the fidelity: all scores were taken at this many turns
    n_trials: int
    top_share: float
    shares: Mapping[str, float]  # field -> share, descending; they sum to 1 (or are all 0)


def measure_importance(records: SweepRecords, turns: int) -> Importance | None:
    """The importance at that station, or None where fewer than MIN_TRIALS trials got there or no
    field took more than one value."""
    distributions = read_distributions(records.space)
    scores = scores_at(records, turns)
    trials = [t for t in records.studied if t.id in scores and _fits(t, distributions)]
    fields = varying_fields(trials)
    if len(trials) < MIN_TRIALS or not fields:
        return None
    top_share = max(0.1, MIN_TOP_TRIALS / len(trials))
    raw = _evaluate(trials, scores, {f: distributions[f] for f in fields}, top_share)
    total = sum(raw.values())
    falling = sorted(raw, key=lambda f: -raw[f])
    shares = {f: round(raw[f] / total, DIGITS) if total else 0.0 for f in falling}
    return Importance(turns=turns, n_trials=len(trials), top_share=top_share, shares=shares)


def varying_fields(trials: list[TrialRecord]) -> list[str]:
    """The searched fields with more than one value, the seed left out. Where a conditional field
    does not exist is no value of it."""
    names = list(dict.fromkeys(name for t in trials for name in t.params if name != "seed"))
    return [n for n in names if len({str(t.params[n]) for t in trials if n in t.params}) > 1]


def read_distributions(space: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """The searched fields' distributions as sweep.json spells them (Optuna's JSON)."""
    optuna = _import_optuna()
    return {
        name: optuna.distributions.json_to_distribution(
            spelt if isinstance(spelt, str) else json.dumps(spelt)
        )
        for name, spelt in (space.get("searched") or {}).items()
    }


def _import_optuna() -> Any:
    with warnings.catch_warnings():
        # In a notebook tqdm, which Optuna imports, warns that it cannot draw its bars.
        warnings.simplefilter("ignore")
        import optuna
        import optuna.importance
    return optuna


def _fits(trial: TrialRecord, distributions: Mapping[str, BaseDistribution]) -> bool:
    """False for a trial of another space."""
    return all(
        name in distributions and _holds(distributions[name], value)
        for name, value in trial.params.items()
    )


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except (ValueError, TypeError):  # not one of the choices, or no number
        return False


def _evaluate(
    trials: list[TrialRecord],
    scores: Mapping[str, float],
    distributions: Mapping[str, BaseDistribution],
    top_share: float,
) -> dict[str, float]:
    optuna = _import_optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for trial in trials:
        params = {k: v for k, v in trial.params.items() if k in distributions}
        known = {k: distributions[k] for k in params}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=known, value=scores[trial.id])
        )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=top_share)
    with warnings.catch_warnings():
        # A branch of a conditional field with one trial is left out; nothing can be done here.
        warnings.simplefilter("ignore")
        return evaluator.evaluate(study)
