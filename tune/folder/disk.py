"""What a sweep takes on disk."""

from __future__ import annotations

import os
from pathlib import Path

MIB, GIB = 2**20, 2**30


def measure_bytes(folder: Path) -> int:
    """Of all files in the folder; what vanishes meanwhile does not count."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue
    return total


def describe_usage(folder: Path) -> str:
    """How much a sweep's folder holds, and how much of that is checkpoints."""
    checkpoints = folder / "checkpoints"
    kept = sum(1 for path in checkpoints.glob("*/[0-9]*"))
    trials = len({path.parent for path in checkpoints.glob("*/[0-9]*")})
    return (
        f"{format_bytes(measure_bytes(folder))} on disk, of it "
        f"{format_bytes(measure_bytes(checkpoints))} in {kept} checkpoints of {trials} trials"
    )


def format_bytes(n_bytes: float) -> str:
    """
    >>> format_bytes(3 * 2**20), format_bytes(1.5 * 2**30), format_bytes(2000)
    ('3.0 MiB', '1.5 GiB', '0.0 MiB')
    """
    return f"{n_bytes / GIB:.1f} GiB" if n_bytes >= GIB else f"{n_bytes / MIB:.1f} MiB"
