"""Which learning rate does a setting want? The pool's losses at the end, fitted by one parabola in

    z = log lr + a log(alpha/rank) + b log(rank) + c log(batch turns) + d [the rate stays constant]

(decimal logarithms), with an offset for every context, selection of layers and schedule:
python analysis/results/curves/rule.py. The best rate lies where z does:
lr ~ (alpha/rank)^-a rank^-b batch^-c, and 10^-d times that where the rate stays constant.
Intervals: 95 % by the bootstrap over the points.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares

from analysis.curve_pool import read_pool

HERE = Path(__file__).parent
NAMES = ("learning_rate", "alpha_over_rank", "lora_rank", "batch_turns")
EXAMPLE = {"alpha_over_rank": 2.0, "lora_rank": 8, "batch_turns": 32}
START = (0.5, 0.5, -0.5, 0.3, 2.5, -1.0, 0.5)  # a, b, c, d, then the parabola's three
RESAMPLES = 200

Floats = NDArray[np.float64]


def main() -> None:
    logs, offsets, losses = read()
    centre = logs.mean(axis=0)

    def fit(rows: NDArray[np.int64]) -> Floats:
        def miss(theta: Floats) -> Floats:
            return (predict(theta, logs - centre, offsets) - losses)[rows]

        start = np.concatenate((START, np.zeros(offsets.shape[1])))
        found: Floats = least_squares(miss, start).x
        return found

    every = np.arange(len(losses))
    theta = fit(every)
    drawn = np.random.default_rng(0).integers(len(losses), size=(RESAMPLES, len(losses)))
    lows, highs = np.percentile([fit(rows) for rows in drawn], (2.5, 97.5), axis=0)
    for name, place in (
        ("a, of alpha/rank", 0),
        ("b, of rank", 1),
        ("c, of the batch", 2),
        ("d, of a constant rate", 3),
    ):
        print(f"{name}: {theta[place]:.2f} [{lows[place]:.2f}, {highs[place]:.2f}]")
    left_out = [
        predict(fit(np.delete(every, i)), logs[i : i + 1] - centre, offsets[i : i + 1])[0]
        for i in every
    ]
    error = float(np.std(left_out - losses))
    print(f"nats a word: spread {losses.std():.2f}, error at a point left out {error:.2f}")
    print(f"the best rate of {EXAMPLE}: {find_rate(theta, centre):.2g}")


def read() -> tuple[Floats, Floats, Floats]:
    """[points, 5] logarithms of NAMES and whether the rate is constant, [points, offsets] of the
    choices, [points] losses."""
    pool = read_pool(HERE / "smollm2")
    ends = pool.select(seed=0).groupby("point").last()
    points = pool.points.loc[ends.index]
    choices = pd.get_dummies(points[["context", "lora_modules", "schedule"]])
    first = [c for c in choices if str(c).endswith(("_history", "_all-linear", "_constant"))]
    logs = np.log10(points[list(NAMES)].to_numpy(np.float64))
    return (
        np.column_stack((logs, points.schedule == "constant")),
        choices.drop(columns=first).to_numpy(np.float64),
        ends.nats_per_word.to_numpy(np.float64),
    )


def predict(theta: Floats, logs: Floats, offsets: Floats) -> Floats:
    z = logs @ np.concatenate(([1.0], theta[:4]))
    value: Floats = theta[4] + theta[5] * z + theta[6] * z**2 + offsets @ theta[7:]
    return value


def find_rate(theta: Floats, centre: Floats) -> float:
    given = np.append(np.log10(list(EXAMPLE.values())), 0.0) - centre[1:]
    best = -theta[5] / 2 / theta[6]
    return float(10 ** (best - given @ theta[:4] + centre[0]))


if __name__ == "__main__":
    main()
