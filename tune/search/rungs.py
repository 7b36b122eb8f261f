"""ASHA's rung tables (Li et al., arXiv 1810.05934), pure: no Ray, no clock, no files.

`StopRungs` decides when a trial reports (the stopping type, as Ray's). `PromoteRungs` is the
paper's: a trial pauses at its rung until it is among the best 1/eta there. `HalvingRungs` promotes
with fewer mistakes, since a sweep knows how many points are to come. All are a function of the
reports in their order, so that the records of a sweep rebuild them. Higher values are better.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Sequence
from typing import Protocol


class Rungs(Protocol):
    def report(self, trial: str, turns: int, value: float) -> bool:
        """Enters the value at the rung of that many turns; whether the trial goes on now."""

    def promote(self) -> str | None:
        """A waiting trial that has earned to go on; it waits no more. None: there is none."""

    def promote_idle(self, entered: int) -> str | None:
        """One for a worker for which there is no new point; `entered`: who is to report at the
        lowest rung in all."""

    def promote_last(self) -> str | None:
        """The same when nothing else will ever report: the fraction is rounded up. So even a small
        sweep sees a trial to its end, and does not end on the noise of one rung."""

    def drop(self, trial: str) -> None:
        """The trial will not go on, whatever it earns; its values stay."""

    def is_over(self) -> bool:
        """Whether some wait, and none of them would be promoted if nobody else reported."""

    def rank_waiting(self) -> list[str]:
        """Who waits, the least likely to be promoted first: by the place among all who have been
        at its rung, as a share of them."""


class NoRungs:
    """Every trial runs to its end."""

    def report(self, trial: str, turns: int, value: float) -> bool:
        return True

    def promote(self) -> str | None:
        return None

    def promote_idle(self, entered: int) -> str | None:
        return None

    def promote_last(self) -> str | None:
        return None

    def drop(self, trial: str) -> None:
        pass

    def is_over(self) -> bool:
        return False

    def rank_waiting(self) -> list[str]:
        return []


class StopRungs(NoRungs):
    """A trial stops when it is below the (1 - 1/eta) quantile of those that came before it; the
    first at a rung goes on."""

    def __init__(self, rungs_turns: Sequence[int], eta: float) -> None:
        self.eta = eta
        self.values: dict[int, dict[str, float]] = {turns: {} for turns in rungs_turns}
        self.ascending: dict[int, list[float]] = {turns: [] for turns in rungs_turns}

    def report(self, trial: str, turns: int, value: float) -> bool:
        rung = self.values.get(turns)
        if rung is None or trial in rung:
            return True
        before = self.ascending[turns]
        goes_on = not before or value >= find_quantile(before, 1 - 1 / self.eta)
        rung[trial] = value
        insort(before, value)
        return goes_on


def find_quantile(ascending: Sequence[float], share: float) -> float:
    """As numpy's, to the last bit: between two values by a straight line, from the nearer one.

    >>> find_quantile([1.0, 2.0, 4.0], 0.75)
    3.0
    """
    place = (len(ascending) - 1) * (share * 100 / 100)  # numpy is asked in per cent: its rounding
    low = math.floor(place)
    way = place - low
    before, after = ascending[low], ascending[min(low + 1, len(ascending) - 1)]
    step = after - before
    return after - step * (1 - way) if way >= 0.5 else before + step * way


class PromoteRungs:
    """A trial pauses at every rung; of n values at a rung the best floor(n/eta) are promoted,
    and the best ceil(n/eta) once nothing else will report."""

    def __init__(self, rungs_turns: Sequence[int], eta: float) -> None:
        self.eta = eta
        self.values: dict[int, dict[str, float]] = {turns: {} for turns in rungs_turns}
        # (the value below zero, the trial), the best first
        self.ranked: dict[int, list[tuple[float, str]]] = {turns: [] for turns in rungs_turns}
        self.waiting: dict[int, set[str]] = {turns: set() for turns in rungs_turns}

    def report(self, trial: str, turns: int, value: float) -> bool:
        for waiting in self.waiting.values():
            waiting.discard(trial)  # it was promoted from there
        rung = self.values.get(turns)
        if rung is None:
            return True
        if trial not in rung:
            rung[trial] = value
            insort(self.ranked[turns], (-value, trial))
        self.waiting[turns].add(trial)
        return False

    def promote(self) -> str | None:
        return self._promote(math.floor)

    def promote_idle(self, entered: int) -> str | None:
        return None

    def promote_last(self) -> str | None:
        return self._promote(math.ceil)

    def _promote(self, rounded: Callable[[float], int]) -> str | None:
        if (trial := self._find(rounded)) is not None:
            self.drop(trial)
        return trial

    def _find(self, rounded: Callable[[float], int]) -> str | None:
        for turns in sorted(self.ranked, reverse=True):  # the highest rung first
            ranked = self.ranked[turns]
            for _, trial in ranked[: rounded(len(ranked) / self.eta)]:
                if trial in self.waiting[turns]:
                    return trial
        return None

    def drop(self, trial: str) -> None:
        for waiting in self.waiting.values():
            waiting.discard(trial)

    def is_over(self) -> bool:
        return any(self.waiting.values()) and self._find(math.ceil) is None

    def rank_waiting(self) -> list[str]:
        places = {
            trial: (place / (len(ranked) + 1), -turns)
            for turns, ranked in self.ranked.items()
            for place, (_, trial) in enumerate(ranked, 1)
            if trial in self.waiting[turns]
        }
        return sorted(places, key=lambda trial: places[trial], reverse=True)


class HalvingRungs(PromoteRungs):
    """Successive halving without barriers. While there are new points only the best 1/eta^2 of a
    rung are promoted, who will hardly be overtaken; a worker for which there is none takes one of
    the best 1/eta, rounded up at a rung where nobody is to come any more."""

    def promote(self) -> str | None:
        return self._promote(lambda share: math.floor(share / self.eta))

    def promote_idle(self, entered: int) -> str | None:
        return super().promote() or self._promote_settled(entered)

    def _promote_settled(self, entered: int) -> str | None:
        due = entered
        for turns in sorted(self.ranked):
            waiting = [trial for _, trial in self.ranked[turns] if trial in self.waiting[turns]]
            gone = len(self.ranked[turns]) - len(waiting)
            if len(self.ranked[turns]) < due:
                return None
            if waiting and gone < math.ceil(due / self.eta):
                self.waiting[turns].discard(waiting[0])
                return waiting[0]
            due = gone
        return None


def open_rungs(asha: str, idle: str, rungs_turns: Sequence[int], eta: float) -> Rungs:
    """Those of `asha` (stop, promote, or none); one of `eta` trials goes on at each."""
    if asha == "stop":
        return StopRungs(rungs_turns, eta)
    if asha == "promote":
        return (HalvingRungs if idle == "promote" else PromoteRungs)(rungs_turns, eta)
    return NoRungs()
