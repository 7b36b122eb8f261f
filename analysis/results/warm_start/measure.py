"""What first points from an earlier sweep are worth, on recorded pools: python measure.py

A pool is a sweep whose points were all trained to their end. An earlier sweep proposes its best
three points (as --warm-start does); each stands for the pool's nearest point that is not taken yet.
Regret is the pool's best Combined minus the best of these three; beside it, three at random.
"""

from itertools import combinations
from math import log
from pathlib import Path
from statistics import fmean, median
from typing import Any

from optuna.distributions import CategoricalDistribution

from analysis.records import read_sweep
from search_spaces.space import Space
from tune.plan.warm_start import POINTS, list_best

RESULTS = Path(__file__).parents[1]
PAIRS = (  # earlier sweep, pool
    ("simulation/qlora", "averaging/settings32"),
    ("smollm2/qlora", "averaging/settings32"),
    ("averaging/settings32", "simulation/qlora"),
    ("smollm2/qlora", "simulation/qlora"),
    ("simulation/lora_modules", "simulation/qlora"),
    ("averaging/settings32", "simulation/lora_modules"),
    ("smollm2/qlora", "simulation/lora_modules"),
)


def main() -> None:
    print("| earlier sweep | pool | points | regret | three at random: mean | better than |")
    print("|---|---|--:|--:|--:|--:|")
    for earlier, name in PAIRS:
        pool = read_sweep(RESULTS / name)
        space = Space.from_dict(pool.space)
        known = [(dict(t.params), t.replied[-1].score) for t in pool.searched if t.replied]
        best = max(score for _, score in known)
        points = list_best(space, read_sweep(RESULTS / earlier))
        regret = best - max(pick_nearest(space, points, known))
        chance = [best - max(s for _, s in drawn) for drawn in combinations(known, POINTS)]
        share = fmean(value > regret for value in chance)
        cells = f"{regret:.1f} | {fmean(chance):.1f} (median {median(chance):.1f}) | {share:.0%}"
        print(f"| {earlier} | {name} | {len(known)} | {cells} |")


def pick_nearest(
    space: Space, points: list[dict[str, Any]], known: list[tuple[dict[str, Any], float]]
) -> list[float]:
    left, scores = list(known), []
    for point in points:
        nearest = min(left, key=lambda pair: measure(space, point, pair[0]))
        left.remove(nearest)
        scores.append(nearest[1])
    return scores


def measure(space: Space, one: dict[str, Any], other: dict[str, Any]) -> float:
    """The mean distance, 0..1, over the fields that both have: 0 or 1 of a choice."""
    return fmean(
        float(one[name] != other[name])
        if isinstance(d, CategoricalDistribution)
        else abs(place(d, one[name]) - place(d, other[name]))
        for name, d in space.searched.items()
        if name in one and name in other
    )


def place(d: Any, value: float) -> float:
    low, high, at = (log(v) if d.log else v for v in (d.low, d.high, value))
    return (at - low) / (high - low)


if __name__ == "__main__":
    main()
