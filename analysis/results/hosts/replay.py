"""Known work through the simulator's clock: how long so many engines take for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.result import ValidationRequest
from trainable.worker.lease import Lease, Milestone, Report
from tune.simulate.clock import Clock
from tune.simulate.curves import Stretch

# An engine's pass of k of n slots takes (a + (1 - a) k / n) of one of n. On an H200 one slot trains
# 103,000 tokens/s and eight 225,000 (../smollm2).
FIXED_SHARE = 0.17


@dataclass(frozen=True, kw_only=True)
class Work:
    """A trial from its start to as far as it goes."""

    trial: str
    turns: int
    seconds: float  # of its device; of passes that trials share, its part


class Replay:
    """For the clock both the search and the curves."""

    room = 0

    def __init__(self, works: Iterable[Work], shares: int, fixed_share: float) -> None:
        """`shares`: of a full engine's pass."""
        self.waiting, self.searched = deque(works), list[Any]()
        self.shares, self.fixed_share = shares, fixed_share

    def lease(self) -> Lease | None:
        if not self.waiting:
            return None
        work = self.waiting.popleft()
        end = Milestone(work.turns, ValidationRequest(None))
        own: Any = {"config": work, "milestones": (end,), "checkpoints": Path()}
        return Lease(trial=work.trial, reported_turns=-1, **own)

    def advance(self, work: Any, seen: int, milestone: Milestone) -> Stretch:
        result: Any = milestone
        return Stretch(work.turns, self.shares * work.seconds, result)

    def report(self, report: Report) -> bool:
        return False

    def finish(self) -> None: ...


def replay(works: Iterable[Work], engines: int, slots: int, *, shares_passes: bool) -> float:
    """Seconds. `slots`: of an engine. Trials that share no passes are as fast beside others."""
    known = Replay(works, slots, FIXED_SHARE) if shares_passes else Replay(works, 1, 1.0)
    clock = Clock(known, known, engines, slots)  # type: ignore[arg-type]
    clock.run()
    return clock.now_s
