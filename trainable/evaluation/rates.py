"""Inform and Success over dialogues: the corpus's rates, and what resampling makes of them.

Source: evaluation spec, section 5 (rates are rounded to 0.1, as published).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.evaluation.bootstrap import resample_rate
from trainable.evaluation.inform_success import Outcome

TOTAL = "total"


@dataclass(frozen=True)
class Rate:
    """Percent of the dialogues concerned, and the same of each resample."""

    percent: float
    resampled: NDArray[np.float64]  # [resamples]


def measure_rates(
    outcomes: Sequence[tuple[Outcome, Outcome | None]], weights: NDArray[np.float64]
) -> dict[str, Mapping[str, Rate]]:
    """ "inform" and "success" -> goal domain or "total" -> its rate. A dialogue counts for the
    domains of its goal, and has no success anywhere if Inform fails as a whole."""
    informs = [inform for inform, _ in outcomes]
    successes = [success or {} for _, success in outcomes]
    domains = sorted({domain for inform in informs for domain in inform})
    cases = {d: np.array([d in inform for inform in informs], np.float64) for d in domains}
    return {
        metric: {
            domain: _measure(
                np.array([o.get(domain, False) for o in judged]), cases[domain], weights
            )
            for domain in domains
        }
        for metric, judged in (("inform", informs), ("success", successes))
    }


def _measure(
    hits: NDArray[np.bool_], cases: NDArray[np.float64], weights: NDArray[np.float64]
) -> Rate:
    percent = round(100 * int(hits.sum()) / int(cases.sum()), 1)
    return Rate(percent, resample_rate(weights, hits.astype(np.float64), cases))
