"""Which race is the default? Every race of a grid on the even half of a pool's points.

    python analysis/results/curves/choose.py FOLDER

A race may be chosen that at 1, 8 and 16 slots of one GPU spends at most a third of the training of
all points run out, regrets no more than they do, and in no order takes longer, validated at the
same rungs. A half has one best point or two, which are in every order; so those that may be chosen
are played again on draws of three quarters of it, and the least regret there wins, of equals the
least training. What is chosen is confirmed once: python -m tune.simulate --points odd.
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
from tune.simulate.outcome import RUN_OUT, Outcome, compare_with, simulate
from tune.simulate.recorded import Recorded, open_pool

METHODS = ("stop", "promote", "promote-idle")
ETAS = (2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0)
METRICS = ("loss",)  # what Combined chose was not confirmed: methods.md
SLOTS = (1, 8, 16)
MOST_TRAINING = 1 / 3
DRAWN = 3 / 4  # of the half's points, in the second pass
ORDERS, MANY_ORDERS = 20, 200


@dataclass(frozen=True, kw_only=True)
class Race:
    method: str
    eta: float = 2.0
    rungs: tuple[int, ...]
    metric: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    race: Race
    regrets: tuple[float, ...]  # above that of all run out, by slots
    trained: tuple[float, ...]  # shares of what all run out take
    clocks: tuple[float, ...]  # likewise
    slower: float  # per cent of the orders, at the slots where most are

    @property
    def is_within(self) -> bool:
        is_cheap = max(self.trained) <= MOST_TRAINING
        return is_cheap and not self.slower and round(max(self.regrets), 2) <= 0

    @property
    def place(self) -> tuple[float, float]:
        return round(fmean(self.regrets), 2), fmean(self.trained)


def main() -> None:
    pool = read_pool(Path(sys.argv[1]))
    curves = open_pool(pool, range(0, len(pool.params), 2))
    n = len(curves.runs)
    within = list_races(curves.config.rungs_turns)
    for orders in (ORDERS, MANY_ORDERS):
        measured = measure(curves, within, n, orders)
        within = [one.race for one in measured if one.is_within]
        print(f"{len(measured)} races of all {n}, {len(within)} within, in {orders} orders:")
        tell(measured)
    print(f"those on {MANY_ORDERS} draws of {round(DRAWN * n)}, the least regret first:")
    tell(measure(curves, within, round(DRAWN * n), MANY_ORDERS))


def measure(curves: Recorded, races: Sequence[Race], trials: int, orders: int) -> list[Measured]:
    """The best first."""
    curves.config = replace(curves.config, trials=trials)
    run_out = lru_cache(lambda race, slots: run(curves, race, slots, orders))
    measured = []
    for race in races:
        outcomes = {slots: run(curves, race, slots, orders) for slots in SLOTS}
        whole = Race(method=RUN_OUT, rungs=race.rungs, metric=race.metric)
        beside = {s: list(map(compare_with, outcomes[s], run_out(whole, s))) for s in SLOTS}
        trained = [fmean(o.training for o in outcomes[s]) / trials for s in SLOTS]
        measured.append(
            Measured(
                race=race,
                regrets=tuple(fmean(b.more_regret for b in beside[s]) for s in SLOTS),
                trained=tuple(trained),
                clocks=tuple(fmean(b.clock for b in beside[s]) for s in SLOTS),
                slower=max(fmean(b.slower for b in beside[s]) for s in SLOTS),
            )
        )
        print(".", end="", file=sys.stderr, flush=True)
    return sorted(measured, key=lambda one: one.place)


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


def tell(measured: Sequence[Measured]) -> None:
    print("| race | eta | rungs | by | more regret | training, % | time, % | slower, % | within |")
    print("|---|--:|---|---|---|---|---|--:|---|")
    for one in measured:
        race = one.race
        cells = [race.method, f"{race.eta:g}", ", ".join(map(str, race.rungs)), race.metric]
        cells.append(" / ".join(f"{regret:.2f}" for regret in one.regrets))
        for shares in (one.trained, one.clocks):
            cells.append(" / ".join(f"{100 * share:.0f}" for share in shares))
        cells += [f"{one.slower:.1f}", "yes" if one.is_within else "no"]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
