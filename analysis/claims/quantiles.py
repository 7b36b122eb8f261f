"""Quantiles of Student's t and of the studentised range."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, ndtr, stdtrit

Floats = NDArray[np.float64]

WIDTHS = np.linspace(0.0, 16.0, 401)


def t_quantile(df: float, probability: float) -> float:
    """Of Student's t; infinite df: of the normal distribution.

    >>> round(t_quantile(8, 0.975), 3), round(t_quantile(float("inf"), 0.975), 3)
    (2.306, 1.96)
    """
    return float(stdtrit(min(df, 1e9), probability))


@lru_cache(maxsize=1024)
def range_quantile(n_means: int, df: float, probability: float = 0.95) -> float:
    """Of the range of `n_means` independent normal variables over an independent estimate of
    their standard deviation (Tukey 1953), to about a thousandth. scipy's takes half a second.

    >>> round(range_quantile(5, 8), 2), round(range_quantile(5, float("inf")), 2)
    (4.89, 3.86)
    """
    wanted = np.geomspace(1.0, 400.0, 1200)
    if np.isinf(df):
        reached = np.interp(wanted, WIDTHS, _find_chances(n_means))
    else:  # over the estimate of the standard deviation, at 400 of its quantiles
        deviations = np.sqrt(chdtri(df, (np.arange(400) + 0.5) / 400) / df)
        reached = np.interp(np.outer(wanted, deviations), WIDTHS, _find_chances(n_means))
        reached = reached.mean(axis=1)
    return float(np.interp(probability, reached, wanted))


@lru_cache(maxsize=256)
def _find_chances(n_means: int) -> Floats:
    """[widths]: that a range of standard normal variables is at most as wide: over where its
    highest lies."""
    z = np.linspace(-6.0, 8.0, 281)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    below = (ndtr(z) - ndtr(z - WIDTHS[:, None])) ** (n_means - 1)
    return np.asarray(n_means * (density * below).sum(axis=1) * (z[1] - z[0]), dtype=np.float64)
