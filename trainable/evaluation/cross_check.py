"""The same predictions through the installed `mwzeval`, and where it disagrees."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from trainable.evaluation.evaluator import Scores
from trainable.evaluation.predictions import Responses
from trainable.trial import ConfigError

# mwzeval's group of scores -> the largest difference that is rounding
TOLERANCES = {"bleu": 1e-6, "inform": 0.01, "success": 0.01, "richness": 1e-9, "dst": 1e-9}


def find_differences(responses: Responses, scores: Scores) -> list[str]:
    """A line for every score that mwzeval gives differently. Raises ConfigError without mwzeval."""
    try:
        from mwzeval.metrics import Evaluator
    except ImportError as error:
        raise ConfigError(
            f"--cross-check needs mwzeval, which cannot be imported ({error}): "
            "pip install 'mwzeval @ git+https://github.com/Tomiinek/MultiWOZ_Evaluation'"
        ) from error
    is_tracked = scores.states == "predicted"
    judge = Evaluator(bleu=True, success=True, richness=True, dst=is_tracked)
    try:
        theirs = judge.evaluate(_copy(responses, with_states=is_tracked))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            "mwzeval itself fails on these predictions (it knows MultiWOZ's dialogues only, and "
            f"not every value): {type(error).__name__} {error}; leave --cross-check out"
        ) from error
    flat = {
        "bleu": {"mwz22": theirs["bleu"]["mwz22"]},
        **theirs["success"],
        "richness": theirs["richness"],
        "dst": theirs["dst"] or {},
    }
    return [*_compare(_arrange(scores), flat)]


def _copy(responses: Responses, *, with_states: bool) -> dict[str, list[dict[str, Any]]]:
    """mwzeval changes what it is given, and uses states that are there."""
    left_out = set() if with_states else {"state"}
    return {
        name: [
            {k: copy.deepcopy(v) for k, v in turn.items() if k not in left_out} for turn in turns
        ]
        for name, turns in responses.items()
    }


def _arrange(scores: Scores) -> dict[str, Mapping[str, float]]:
    assert scores.inform is not None and scores.success is not None
    return {
        "bleu": {"mwz22": scores.bleu},
        "inform": {"total": scores.inform, **scores.per_domain["inform"]},
        "success": {"total": scores.success, **scores.per_domain["success"]},
        "richness": scores.richness,
        "dst": scores.dst or {},
    }


def _compare(
    ours: Mapping[str, Mapping[str, float]], theirs: Mapping[str, Mapping[str, float]]
) -> Iterator[str]:
    for group, tolerance in TOLERANCES.items():
        for name in sorted({*ours[group], *theirs[group]}):
            mine, other = ours[group].get(name), theirs[group].get(name)
            if mine is None or other is None or abs(mine - other) > tolerance:
                yield f"{group} {name}: {mine} here, {other} by mwzeval"
