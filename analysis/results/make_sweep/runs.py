"""`make sweep` with other seeds: how long each took, what it says, and how often it is right.

    python analysis/results/make_sweep/runs.py STORAGE [SEED ...]

Runs the sweeps that STORAGE lacks, one after another, and prints Markdown. Seeds ten apart, so that
no two sweeps share a fresh seed. The truth about a choice is the mean of all sweeps' confirmations.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from analysis.labels import shorten_pattern
from analysis.records import SweepRecords, read_sweep
from analysis.verdict import Verdict, find_verdict
from analysis.wording import state

SEEDS = (0, 10, 20, 30, 40, 50)
WORTH_NAMING = 10.0  # points of Combined
LASTED = "seconds"  # file in a sweep's folder


def run(storage: Path, seed: int) -> SweepRecords:
    folder = storage / f"seed-{seed}"
    if not (folder / LASTED).exists():
        command = [sys.executable, "-m", "tune.run", "--space", "lora_modules", "--profile", "tiny"]
        started_s = time.monotonic()
        own = ["--seed", str(seed), "--storage", str(storage), "--name", folder.name]
        subprocess.run([*command, *own], check=True)
        (folder / LASTED).write_text(f"{time.monotonic() - started_s:.0f}")
    return read_sweep(folder)


def find_truth(sweeps: Sequence[SweepRecords]) -> dict[str, list[float]]:
    """Choice -> Combined of each fresh seed of all sweeps, the choice of the highest mean first."""
    scores: dict[str, list[float]] = defaultdict(list)
    for trial in (t for s in sweeps for t in s.searched if t.is_confirmation and t.replied):
        name = shorten_pattern(str(trial.params["lora_modules"]))
        scores[name].append(trial.replied[-1].score)
    return dict(sorted(scores.items(), key=lambda item: -fmean(item[1])))


def tabulate(sweeps: Sequence[SweepRecords], verdicts: Sequence[Verdict]) -> str:
    lines = ["| sweep | seconds | its trials together | what it says |", "| --- " * 4 + "|"]
    for sweep, verdict in zip(sweeps, verdicts, strict=True):
        spent_s = sum(t.evals[-1].train_s + sum(e.eval_s for e in t.evals) for t in sweep.trials)
        lasted = (sweep.folder / LASTED).read_text().strip()
        said = spare(state(verdict)[0])
        lines.append(f"| {sweep.folder.name} | {lasted} | {spent_s:.0f} | {said} |")
    truth = find_truth(sweeps)
    highest = max(map(fmean, truth.values()))
    lines += ["", "| choice | Combined | over seeds | behind the highest | sweeps that say so |"]
    lines.append("| --- " * 5 + "|")
    for name, scores in truth.items():
        own = [c for v in verdicts for c in (*v.choices, *v.others) if c.name == name]
        said = f"{sum(bool(c.is_behind) for c in own)} of {len(verdicts)}"
        gap = highest - fmean(scores)
        spread = f"sd {stdev(scores):.1f}, n {len(scores)}"
        wanted = " (wanted: 4 of 5)" if gap >= WORTH_NAMING else ""
        lines.append(
            f"| {spare(name)} | {fmean(scores):.1f} | {spread} | {gap:.1f} | {said}{wanted} |"
        )
    return "\n".join(lines)


def spare(text: str) -> str:
    """For a table's cell."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    storage = Path(sys.argv[1])
    sweeps = [run(storage, int(seed)) for seed in sys.argv[2:] or SEEDS]
    print(tabulate(sweeps, [v for s in sweeps if (v := find_verdict(s)) is not None]))
