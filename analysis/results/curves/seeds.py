"""What repeats over seeds in the sixteen points of three: python analysis/results/curves/seeds.py

F: the mean square of points over what points and seeds, as blocks, leave. The rank correlation is
of one seed's score at the rung with the mean Combined of the other two at the end.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.curve_pool import read_pool
from tune.bench.repeats import measure_f, measure_left

HERE = Path(__file__).parent
SCORES = ("nats_per_word", "nats_per_placeholder", "placeholders_f1", "combined")


def main() -> None:
    points, curves = read_repeated()
    ends = curves[curves.rung == curves.rung.max()].pivot(
        index="point", columns="seed", values="combined"
    )
    print(f"{len(points)} points, seeds {', '.join(map(str, ends.columns))}")
    print("| at | " + " | ".join(f"{s}: F, sd over seeds, rank" for s in SCORES) + " |")
    print("| --- " * (len(SCORES) + 1) + "|")
    for rung, rows in curves.groupby("rung"):
        tables = [rows.pivot(index="point", columns="seed", values=s) for s in SCORES]
        print(f"| {rung:,} | " + " | ".join(spell(t, ends) for t in tables) + " |")


def read_repeated() -> tuple[set[int], pd.DataFrame]:
    """The points that have further seeds, and the curves of all of their seeds."""
    curves = read_pool(HERE / "smollm2").curves
    curves = curves[curves.weights == "average"]
    repeated = set(curves[curves.seed > 0].point)
    return repeated, curves[curves.point.isin(repeated)]


def spell(scores: pd.DataFrame, ends: pd.DataFrame) -> str:
    """scores, ends: a row a point, a column a seed."""
    values = scores.to_numpy()
    f, left = measure_f(values)[1], measure_left(values) ** 0.5
    ranks = [
        scores[seed].corr(ends.drop(columns=seed).mean(axis=1), method="spearman")
        for seed in scores
    ]
    return f"{f:,.0f}, {left:.3f}, {sum(ranks) / len(ranks):.2f}"


if __name__ == "__main__":
    main()
