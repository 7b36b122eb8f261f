"""The rungs' own rule, played out on trials whose scores at two rungs agree by half, and who get
better as the search learns: how many get to each rung, and who trains again to get back to one."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from statistics import fmean

from tune.search.config import SweepConfig
from tune.search.rungs import open_rungs

RACES, RACED = 20, 2000  # played out at most; points in all of them, where there are many
# How much better the last proposal is than the first, in widths of what trials differ by: with it
# the races let as many on as six recorded sweeps did (analysis/results/smollm2, analysis/example).
LEARNT = 0.75


@dataclass(frozen=True, kw_only=True)
class Turnout:
    """Trials at each rung and at the end, on average."""

    reached: tuple[float, ...]
    again: tuple[float, ...]  # of those, that train there a second time: see tune.search.parking


def expect_turnout(config: SweepConfig, n_parked: float = math.inf) -> Turnout:
    """`n_parked`: trials whose checkpoints there is room for while they wait."""
    n_points = count_points(config)
    seeds = config.trials / n_points
    n_races = max(2, min(RACES, RACED // n_points))
    races = [PlayedRace(config, n_parked / seeds, seed) for seed in range(n_races)]
    for race in races:
        race.play()
    reached = zip(*(race.count_reached() for race in races), strict=True)
    again = zip(*(race.again for race in races), strict=True)
    return Turnout(
        reached=tuple(seeds * fmean(column) for column in reached),
        again=tuple(seeds * fmean(column) for column in again),
    )


def count_points(config: SweepConfig) -> int:
    """Of which each has its seeds, and races as one."""
    return -(-config.trials // config.seeds)


class PlayedRace:
    def __init__(self, config: SweepConfig, n_parked: float, seed: int) -> None:
        self.draw, self.n_parked = random.Random(seed), n_parked
        self.milestones = (*config.rungs_turns, config.train_turns)
        self.rungs = open_rungs(config.asha, config.idle, config.rungs_turns, config.eta)
        n_points = count_points(config)
        self.skills = [self.draw.random() + LEARNT * n / n_points for n in range(n_points)]
        self.stood = [0] * n_points  # milestones passed
        self.emptied: set[str] = set()  # who waits without checkpoints
        self.again = [0] * len(self.milestones)

    def play(self) -> None:
        for number in range(len(self.skills)):
            self._run_on(number)
            while (name := self.rungs.promote()) is not None:
                self._go_on(name)
        while name := self.rungs.promote_idle(len(self.skills)) or self.rungs.promote_last():
            self._go_on(name)

    def count_reached(self) -> list[int]:
        return [sum(n > i for n in self.stood) for i in range(len(self.milestones))]

    def _go_on(self, name: str) -> None:
        if name in self.emptied:
            self.emptied.discard(name)
            for i in range(self.stood[int(name)]):
                self.again[i] += 1
        self._run_on(int(name))

    def _run_on(self, number: int) -> None:
        goes_on = True
        while goes_on and self.stood[number] < len(self.milestones):
            turns = self.milestones[self.stood[number]]
            self.stood[number] += 1
            score = self.skills[number] + self.draw.random()
            goes_on = self.rungs.report(str(number), turns, score)
        if self.n_parked < len(self.skills):
            self._park()

    def _park(self) -> None:
        kept = [name for name in self.rungs.rank_waiting() if name not in self.emptied]
        self.emptied.update(kept[: max(0, len(kept) - int(self.n_parked))])
