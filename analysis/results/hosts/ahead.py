"""What the simulator expects of `run.sh fixed` and `run.sh search` on H200s: ahead.py

The points' own paces are those of ../curves/smollm2 (one H200, eight slots). The sampler's search
is simulated on that pool's surrogate, where all points have one pace: what is lost there is lost
by the search alone, which at its end has fewer trials to train than there are slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from statistics import fmean

from replay import FIXED_SHARE, Work, replay

from analysis.curve_pool import Pool, read_pool
from tune.simulate.outcome import run
from tune.simulate.surrogate import Surrogate

GPUS, SLOTS = (1, 2, 4, 8), 8
FIXED = ((64, 12_000), (64, 48_000), (256, 12_000))  # points, turns of each
TRIALS, SEEDS = 256, 3  # of the search
REPLIES, REPLIES_PER_S = 400 * 7.4, 3_169  # at the end; of eight slots (../smollm2)
START_S, RECORDING_S = 25.0, 15.0  # of an engine, until it trains (../layers); of its passes, all


def read_paces(pool: Pool) -> list[float]:
    """Seconds of its engine a turn, of each point, after the first turns, which hold recordings."""
    rows = pool.select(0).set_index(["point", "rung"])
    early, late = (rows.xs(rung, level="rung") for rung in (1500, 6000))
    return list((late.train_s - early.train_s) / (late.turns_seen - early.turns_seen))


def foretell_fixed(pool: Pool, points: int, turns: int) -> Iterator[str]:
    works = [
        Work(trial=f"{i:04d}", turns=turns, seconds=turns * pace_s + REPLIES / REPLIES_PER_S)
        for i, pace_s in zip(range(points), cycle(read_paces(pool)), strict=False)
    ]
    own_s = START_S + RECORDING_S
    seconds = {n: replay(works, n, SLOTS, shares_passes=True) for n in GPUS}
    for n in GPUS:
        whole_s, first_s = own_s + seconds[n], own_s + seconds[1]
        yield (
            f"| {points} | {turns:,} | {n} | {whole_s / 60:.1f} | {first_s / (n * whole_s):.2f} | "
            f"{seconds[1] / (n * seconds[n]):.2f} |"
        )


def foretell_search(pool: Pool) -> Iterator[str]:
    curves = Surrogate(pool)
    curves.config = replace(curves.config, trials=TRIALS)
    curves.fixed_share = FIXED_SHARE
    rates = {}
    for n in GPUS:
        clocks = [run(curves, "tpe-promote", n, SLOTS, seed) for seed in range(SEEDS)]
        rates[n] = fmean(clock.turns / (n * clock.now_s) for clock in clocks)
        busy = fmean(clock.slot_s / (n * SLOTS * clock.now_s) for clock in clocks)
        turns = fmean(clock.turns for clock in clocks)
        yield f"| {n} | {turns:,.0f} | {busy:.0%} | {rates[n] / rates[1]:.2f} |"


if __name__ == "__main__":
    pool = read_pool(Path(__file__).parents[1] / "curves" / "smollm2")
    print("| points | turns of each | GPUs | minutes | efficiency | after the start-up |")
    print("|---" * 6 + "|")
    for points, turns in FIXED:
        print(*foretell_fixed(pool, points, turns), sep="\n")
    print("\n| GPUs | turns trained | slots busy | efficiency after the start-up |")
    print("|---" * 4 + "|")
    print(*foretell_search(pool), sep="\n", flush=True)
