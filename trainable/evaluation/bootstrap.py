"""95 % intervals by resampling dialogues.

Source: Efron (1979); for BLEU, Koehn (2004).
"""

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
Interval = tuple[float, float]


def draw_weights(n_dialogues: int, seed: int = 0) -> NDArray[np.float64]:
    """[resamples, dialogues]: how often each dialogue occurs in each resample."""
    drawn = np.random.default_rng(seed).integers(n_dialogues, size=(RESAMPLES, n_dialogues))
    drawn += n_dialogues * np.arange(RESAMPLES)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=RESAMPLES * n_dialogues)
    return counts.reshape(RESAMPLES, n_dialogues).astype(np.float64)


def resample_rate(
    weights: NDArray[np.float64], hits: NDArray[np.float64], cases: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[resamples] percent of hits among cases; hits and cases count per dialogue. A resample
    without a case is left out (nan)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 100 * (weights @ hits) / (weights @ cases)


def find_interval(values: NDArray[np.float64]) -> Interval:
    """The middle 95 % of the resampled values."""
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)
