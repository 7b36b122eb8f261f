"""What a sweep takes on disk."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

MIB, GIB = 2**20, 2**30


def measure_bytes(folder: Path) -> int:
    """Of all files in the folder; what vanishes meanwhile does not count."""
    return sum(size for _, size in list_sizes(folder))


def list_sizes(folder: Path) -> Iterator[tuple[str, int]]:
    """(path, bytes) of all files in the folder, links as such."""
    folders = [str(folder)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
                try:
                    size = entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:  # just now
                    continue
                yield entry.path, size


def describe_usage(folder: Path) -> str:
    """How much a sweep's folder holds, and how much of that is checkpoints."""
    place = f"{folder / 'checkpoints'}{os.sep}"
    total, of_checkpoints = 0, 0
    kept: set[tuple[str, str]] = set()
    for path, size in list_sizes(folder):
        total += size
        if path.startswith(place):
            of_checkpoints += size
            trial, turns, *_ = (*path[len(place) :].split(os.sep), "", "")
            kept.update({(trial, turns)} if turns[:1].isdigit() else ())
    return (
        f"{format_bytes(total)} on disk, of it {format_bytes(of_checkpoints)} in {len(kept)} "
        f"checkpoints of {len({trial for trial, _ in kept})} trials"
    )


def format_bytes(n_bytes: float) -> str:
    """
    >>> format_bytes(3 * 2**20), format_bytes(1.5 * 2**30), format_bytes(2000)
    ('3.0 MiB', '1.5 GiB', '0.0 MiB')
    """
    return f"{n_bytes / GIB:.1f} GiB" if n_bytes >= GIB else f"{n_bytes / MIB:.1f} MiB"
