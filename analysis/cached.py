"""What is computed from a sweep's records, cached for as long as they live."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from analysis.records import SweepRecords

P = ParamSpec("P")
T = TypeVar("T")


def cached(
    work: Callable[Concatenate[SweepRecords, P], T],
) -> Callable[Concatenate[SweepRecords, P], T]:
    """As `functools.cache`, but it keeps no records alive: a driver reads its sweep anew every few
    seconds. The result must not refer to the records."""
    known: WeakKeyDictionary[SweepRecords, dict[Any, T]] = WeakKeyDictionary()

    def look_up(records: SweepRecords, /, *args: P.args, **named: P.kwargs) -> T:
        own, key = known.setdefault(records, {}), (args, tuple(named.items()))
        if key not in own:
            own[key] = work(records, *args, **named)
        return own[key]

    return look_up
