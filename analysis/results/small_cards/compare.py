"""fp16 beside bf16, point by point: python analysis/results/small_cards/compare.py

Means over the seeds; `apart` is fp16 less bf16 of the same seed, with the smallest and the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from analysis.labels import shorten_pattern
from analysis.records import EvalRecord, read_sweep

HERE = Path(__file__).parent
Read = Callable[[EvalRecord], float]
COLUMNS: dict[str, tuple[Read, int]] = {
    "loss, nats a word": (lambda e: e.nats_per_word or 0.0, 4),
    "Combined, greedy": (lambda e: e.combined or 0.0, 1),
    "Combined, bias 1": (lambda e: (e.calibrated or {}).get("combined", 0.0), 1),
}
Ends = dict[tuple[str, int], EvalRecord]


def main() -> None:
    bf16, fp16 = read_ends("bf16"), read_ends("fp16")
    print("| point | score | bf16 | fp16 | apart, seed by seed | seeds' sd in bf16 |")
    print("| --- " * 6 + "|")
    for point in sorted({point for point, _ in bf16}):
        for name, (read, digits) in COLUMNS.items():
            keys = sorted(key for key in bf16 if key[0] == point)
            print(spell(point, name, digits, [(read(bf16[k]), read(fp16[k])) for k in keys]))


def read_ends(name: str) -> Ends:
    """(point, seed) -> its last evaluation."""
    trials = read_sweep(HERE / name).proposed
    return {(spell_point(t.params), int(t.config["seed"])): t.evals[-1] for t in trials}


def spell_point(params: Mapping[str, Any]) -> str:
    return f"{shorten_pattern(str(params['lora_modules']))}, rate {params['learning_rate']}"


def spell(point: str, name: str, digits: int, pairs: list[tuple[float, float]]) -> str:
    wide, half = zip(*pairs, strict=True)
    apart = [h - w for w, h in pairs]
    cells = [f"{fmean(wide):.{digits}f}", f"{fmean(half):.{digits}f}"]
    cells.append(
        f"{fmean(apart):+.{digits}f} ({min(apart):+.{digits}f} to {max(apart):+.{digits}f})"
    )
    return "| " + " | ".join([point, name, *cells, f"{stdev(wide):.{digits}f}"]) + " |"


if __name__ == "__main__":
    main()
