"""How well a score tells points from seeds: F, and a table of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def measure_f(values: NDArray[np.float64]) -> tuple[float, float]:
    """F of points against what is left, without and with seeds as blocks; values [points, seeds].

    >>> plain, blocked = measure_f(np.array([[1.0, 2.0], [3.0, 4.1], [5.0, 6.0]]))
    >>> round(plain, 1), round(blocked)
    (15.0, 4801)
    """
    points, seeds = values.shape
    by_point = seeds * ((values.mean(1) - values.mean()) ** 2).sum() / (points - 1)
    plain = ((values - values.mean(1, keepdims=True)) ** 2).sum() / (points * (seeds - 1))
    return float(by_point / plain), float(by_point / measure_left(values))


def measure_left(values: NDArray[np.float64]) -> float:
    """The mean square that points and seeds, as blocks, leave of values [points, seeds]."""
    points, seeds = values.shape
    within = ((values - values.mean(1, keepdims=True)) ** 2).sum()
    by_seed = points * ((values.mean(0) - values.mean()) ** 2).sum()
    return float((within - by_seed) / ((points - 1) * (seeds - 1)))


def print_table(lines: Sequence[dict[str, Any]]) -> None:
    for metric in ("loss", "combined"):
        for rung in sorted({line["rung_turns"] for line in lines}):
            for way in dict.fromkeys(line["way"] for line in lines):
                own = [x for x in lines if (x["way"], x["rung_turns"]) == (way, rung)]
                if not own or metric not in own[0]:
                    continue
                own.sort(key=lambda x: (x["point"], x["seed"]))
                seeds = len({x["seed"] for x in own})
                values = np.array([x[metric] for x in own]).reshape(-1, seeds)
                plain, blocked = measure_f(values)
                print(
                    f"{metric:8} {rung:6} {way:7} mean {values.mean():8.3f} "
                    f"F {plain:8.1f} [{blocked:8.1f}]"
                )
