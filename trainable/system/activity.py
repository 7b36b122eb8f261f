"""What this process is at right now, for whoever cares to look: a bar, a heartbeat, or nobody.

Told by those who work, as often as they like; read from other threads.
"""

from __future__ import annotations

from dataclasses import dataclass

ALONE = "solo"  # the key of whatever has its process to itself


@dataclass(frozen=True)
class Activity:
    what: str  # training, validating, loading ...
    done: float = 0.0
    total: float | None = None  # None: nobody knows


_now: dict[str, Activity] = {}


def tell(what: str, done: float = 0.0, total: float | None = None, *, key: str = ALONE) -> None:
    _now[key] = Activity(what, done, total)


def forget(key: str = ALONE) -> None:
    _now.pop(key, None)


def read_activities() -> dict[str, Activity]:
    """Key -> activity.

    >>> tell("validating", 3, 20, key="0007.1")
    >>> read_activities()["0007.1"]
    Activity(what='validating', done=3, total=20)
    >>> forget("0007.1")
    """
    return dict(_now)
