"""The GPUs and engines behind a sweep's evaluations, and where their time went."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from analysis.curves import find_lanes, gpu_of, worked_s
from analysis.records import EvalRecord, SweepRecords

FORWARD = 1 / 3  # of the time of a training pass, which is forward and back


def count_room(sweep: SweepRecords) -> int:
    """The most trials that were at work at a time; one that waited at its rung was not."""
    return 1 + max(find_lanes([(e.started_s, e.time_s) for e in all_evals(sweep)]))


def count_gpus(sweep: SweepRecords) -> int:
    return len({gpu_of(e) for e in all_evals(sweep)})


def count_engines(sweep: SweepRecords) -> int:
    """Of GPUs that trials share, or of trials that each had a process of its own."""
    return count_gpus(sweep) if is_packed(sweep) else count_room(sweep)


def is_packed(sweep: SweepRecords) -> bool:
    """Whether trials shared an engine's passes, of whose seconds each has its part."""
    return any(t.resolved and t.resolved.execution == "packed" for t in sweep.trials)


def worked_until(sweep: SweepRecords, time_s: float) -> float:
    """Seconds from the sweep's start, without those in which nobody drove it."""
    done = [replace(t, evals=tuple(e for e in t.evals if e.time_s <= time_s)) for t in sweep.trials]
    first_s = min(e.started_s for t in done for e in t.evals)
    return first_s - sweep.created_s + worked_s(done)


def all_evals(sweep: SweepRecords) -> list[EvalRecord]:
    return [e for t in sweep.trials for e in t.evals]


def sum_reply_s(evals: Iterable[EvalRecord]) -> float:
    """Seconds in which the device made replies; where they were not told apart, it is taken to
    have waited for the scores as well."""
    return sum(e.eval_s if e.generate_s is None else e.generate_s for e in evals)


def share_time(sweep: SweepRecords) -> dict[str, float]:
    """Where the engines' time went until the sweep's last evaluation, in [0, 1]."""
    evals = all_evals(sweep)
    wall_s = count_engines(sweep) * worked_until(sweep, max(e.time_s for e in evals))
    train_s = sum(t.evals[-1].train_s for t in sweep.trials if t.evals)
    reply_s = sum_reply_s(evals)
    idle_s = max(wall_s - train_s - reply_s, 0.0)
    total_s = train_s + reply_s + idle_s
    parts = {"training": train_s, "validation": reply_s, "starting, waiting, idle": idle_s}
    return {part: seconds / total_s for part, seconds in parts.items()}
