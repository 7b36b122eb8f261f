"""Which race is the default? Every race of a grid on the even half of a pool's points.

    python analysis/results/curves/choose.py FOLDER

A race may be chosen that at 1, 8 and 16 slots of one GPU spends at most a third of the training of
all points run out, and in no order takes longer than they do, validated at the same rungs; of those
the one with the least mean regret over the three. Every race is run in 40 orders, the best of them
in 1,000. What is chosen is confirmed once: python -m tune.simulate --points odd.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import fmean

from analysis.curve_pool import read_pool
from tune.search.profiles import fit_evals
from tune.simulate.outcome import RUN_OUT, Outcome, hold_against, simulate
from tune.simulate.recorded import Recorded, open_pool

METHODS = ("stop", "promote", "promote-early")
ETAS = (2.0, 2.5, 3.0, 4.0)
METRICS = ("loss", "combined")
SLOTS = (1, 8, 16)
MOST_TRAINING = 1 / 3
ORDERS, MANY_ORDERS, FINALISTS = 40, 1000, 4


@dataclass(frozen=True, kw_only=True)
class Race:
    method: str
    eta: float = 2.0
    rungs: tuple[int, ...]
    metric: str


@dataclass(frozen=True, kw_only=True)
class Worth:
    race: Race
    regrets: tuple[float, ...]  # by slots
    trained: tuple[float, ...]  # shares of what all run out take
    clocks: tuple[float, ...]  # likewise
    slower: float  # per cent of the orders, at the slots where most are

    @property
    def is_within(self) -> bool:
        return max(self.trained) <= MOST_TRAINING and not self.slower

    @property
    def place(self) -> tuple[bool, float]:
        return not self.is_within, fmean(self.regrets)


def main() -> None:
    pool = read_pool(Path(sys.argv[1]))
    curves = open_pool(pool, range(0, len(pool.params), 2))
    curves.config = replace(curves.config, trials=len(curves.runs))
    every = measure(curves, list_races(curves.config.rungs_turns), ORDERS)
    within = [worth.race for worth in every if worth.is_within]
    print(f"{len(every)} races, {len(within)} within, in {ORDERS} orders:")
    tell(every)
    print(f"the best of those within, in {MANY_ORDERS} orders:")
    tell(measure(curves, within[:FINALISTS], MANY_ORDERS) if within else [])


def measure(curves: Recorded, races: Sequence[Race], orders: int) -> list[Worth]:
    """The best first."""
    run_out = lru_cache(lambda race, slots: run(curves, race, slots, orders))
    worths = []
    for race in races:
        outcomes = {slots: run(curves, race, slots, orders) for slots in SLOTS}
        whole = Race(method=RUN_OUT, rungs=race.rungs, metric=race.metric)
        beside = {s: list(map(hold_against, outcomes[s], run_out(whole, s))) for s in SLOTS}
        trained = [fmean(o.training for o in outcomes[s]) / curves.config.trials for s in SLOTS]
        worths.append(
            Worth(
                race=race,
                regrets=tuple(fmean(o.regret for o in outcomes[s]) for s in SLOTS),
                trained=tuple(trained),
                clocks=tuple(fmean(b.clock for b in beside[s]) for s in SLOTS),
                slower=max(fmean(b.slower for b in beside[s]) for s in SLOTS),
            )
        )
        print(".", end="", file=sys.stderr, flush=True)
    print(f"all run out: {fmean(o.regret for o in run_out(whole, SLOTS[0])):.2f}")
    return sorted(worths, key=lambda worth: worth.place)


def run(curves: Recorded, race: Race, slots: int, orders: int) -> list[Outcome]:
    kept = curves.config
    curves.config = replace(
        kept,
        eta=race.eta,
        rungs_turns=race.rungs,
        rung_metric=race.metric,
        eval_dialogues=fit_evals(kept.eval_dialogues, len(race.rungs)),
    )
    outcomes = [simulate(curves, race.method, 1, slots, order) for order in range(orders)]
    curves.config = kept
    return outcomes


def list_races(recorded: tuple[int, ...]) -> list[Race]:
    first, *others = recorded  # a later first rung spends more than a third by itself, or nearly
    rungs = [(first, *r) for n in range(len(recorded)) for r in itertools.combinations(others, n)]
    return [
        Race(method=method, eta=eta, rungs=turns, metric=metric)
        for method, eta, turns, metric in itertools.product(METHODS, ETAS, rungs, METRICS)
    ]


def tell(worths: Sequence[Worth]) -> None:
    print("| race | eta | rungs | by | regret | training, % | time, % | slower, % | within |")
    print("|---|--:|---|---|---|---|---|--:|---|")
    for worth in worths:
        race = worth.race
        cells = [race.method, f"{race.eta:g}", ", ".join(map(str, race.rungs)), race.metric]
        cells.append(" / ".join(f"{regret:.2f}" for regret in worth.regrets))
        for shares in (worth.trained, worth.clocks):
            cells.append(" / ".join(f"{100 * share:.0f}" for share in shares))
        cells += [f"{worth.slower:.1f}", "yes" if worth.is_within else "no"]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
