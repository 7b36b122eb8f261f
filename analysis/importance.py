"""Which searched fields a score depends on: fANOVA (Hutter et al. 2014, Optuna's), among trials at
equal training."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.cached import cached
from analysis.curves import scores_at
from analysis.records import SweepRecords, TrialRecord

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MIN_TRIALS = 12
MOST_TRIALS = 250  # of more, every second, third ...: the trees of 2,000 take half a report's time
DIGITS = 9  # of a share: those after them differ from processor to processor
LEAST_EXPLAINED = 0.25  # of the variance, where the trees had not seen the trial


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How much of the scores' variance each field accounts for by itself."""

    turns: int  # all scores were taken at this many turns
    n_trials: int
    explained: float  # of the variance, by trees that had not seen the trial (out of bag)
    shares: Mapping[str, float]  # field -> share of all fields', descending; they sum to 1


@cached
def measure_importance(records: SweepRecords, turns: int) -> Importance | None:
    """The importance at that rung; None where fewer than MIN_TRIALS trials got there, no two
    fields that all of them have took more than one value, or trees explain too little of what
    they have not seen for any field to be named."""
    distributions = read_distributions(records.space)
    scores = scores_at(records, turns)
    trials = [t for t in records.studied if t.id in scores and _fits(t, distributions)]
    trials = trials[:: max(-(-len(trials) // MOST_TRIALS), 1)]
    fields = [f for f in varying_fields(trials) if all(f in t.params for t in trials)]
    if len(trials) < MIN_TRIALS or len(fields) < 2:
        return None
    known = {f: distributions[f] for f in fields}
    explained = _explain(trials, scores, known)
    if explained < LEAST_EXPLAINED:
        return None
    raw = _evaluate(trials, scores, known)
    total = sum(raw.values()) or 1.0
    shares = {f: round(float(raw[f] / total), DIGITS) for f in sorted(raw, key=lambda f: -raw[f])}
    return Importance(turns=turns, n_trials=len(trials), explained=explained, shares=shares)


def varying_fields(trials: Sequence[TrialRecord]) -> list[str]:
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
    from search_spaces.distributions import contains

    known = ((distributions.get(name), value) for name, value in trial.params.items())
    return all(kind is not None and contains(kind, value) for kind, value in known)


def _explain(
    trials: Sequence[TrialRecord],
    scores: Mapping[str, float],
    distributions: Mapping[str, BaseDistribution],
) -> float:
    """The share of the scores' variance that a forest explains out of bag, at most 1."""
    from sklearn.ensemble import RandomForestRegressor

    columns: list[list[float]] = []
    for name, distribution in distributions.items():
        values = [t.params[name] for t in trials]
        if hasattr(distribution, "choices"):
            columns += [[float(v == c) for v in values] for c in distribution.choices]
        else:
            columns.append([float(v) for v in values])
    forest = RandomForestRegressor(n_estimators=200, oob_score=True, random_state=0)
    forest.fit(np.array(columns).T, [scores[t.id] for t in trials])
    return float(forest.oob_score_)


def _evaluate(
    trials: Sequence[TrialRecord],
    scores: Mapping[str, float],
    distributions: Mapping[str, BaseDistribution],
) -> dict[str, float]:
    optuna = _import_optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for trial in trials:
        params = {k: trial.params[k] for k in distributions}
        study.add_trial(
            optuna.trial.create_trial(
                params=params, distributions=dict(distributions), value=scores[trial.id]
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(evaluator.evaluate(study, params=list(distributions)))
