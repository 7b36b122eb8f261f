"""What this process is at right now, read by progress bars and heartbeats.

Told by those who work, as often as they like; read from other threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from trainable.training_curve import TrainingCurve

ALONE = "solo"  # the key of whatever has its process to itself


@dataclass(frozen=True)
class Activity:
    """One kind of work under way, and how far it is: `done` of `total`, of whatever is counted."""

    what: str  # training, validating, loading ...
    done: float = 0.0
    total: float | None = None  # None: nobody knows
    curve: TrainingCurve | None = field(default=None, repr=False)  # of training; it grows on


_now: dict[str, Activity] = {}


def tell(
    what: str,
    done: float = 0.0,
    total: float | None = None,
    *,
    key: str = ALONE,
    curve: TrainingCurve | None = None,
) -> None:
    """Notes what this process is at, how far of how much; `key`: for which trial."""
    _now[key] = Activity(what, done, total, curve)


def forget(key: str = ALONE) -> None:
    _now.pop(key, None)


class ReplyCounter:
    """Tells how many of the replies that some trials make together are there."""

    def __init__(self, keys: Sequence[str], total: int) -> None:
        self.keys, self.done = keys, 0
        self.total = total or None  # a loss alone has no replies to count
        self.add(0)

    def add(self, replies: int) -> None:
        self.done += replies
        for key in self.keys:
            tell("validating", self.done, self.total, key=key)


def read_activities() -> dict[str, Activity]:
    """Key -> activity.

    >>> tell("validating", 3, 20, key="0007.1")
    >>> read_activities()["0007.1"]
    Activity(what='validating', done=3, total=20)
    >>> forget("0007.1")
    """
    return dict(_now)
