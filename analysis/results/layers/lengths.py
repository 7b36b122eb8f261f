"""The sweep `schedules` as two tables, at 4,000 and at 12,000 turns:
python analysis/results/layers/lengths.py"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from compare import F1, GREEDY, LOSS, Arms, Column, average, read_sweep, spell

from analysis.records import TrialRecord

HERE = Path(__file__).parent
DIVERGED_NATS = 3.0  # a word: above the untuned model's, no learning is left


def main() -> None:
    print_table(read_arms(12_000), (LOSS, GREEDY, F1))
    print()
    print_table(read_arms(4_000), (LOSS,))


def read_arms(turns: int) -> Arms:
    """(schedule and its length, rate) -> its trials as they stood there; the lowest loss first."""
    arms: dict[tuple[str, float], list[TrialRecord]] = defaultdict(list)
    for trial in read_sweep(HERE / "schedules").proposed:
        there = [e for e in trial.evals if turns <= e.turns_seen < 1.1 * turns]
        schedule, length = trial.params["schedule"], trial.config["train_turns"]
        name = schedule if schedule == "constant" else f"{schedule} over {length:,}"
        if there:
            cut = replace(trial, evals=tuple(there))
            arms[name, trial.params["learning_rate"]].append(cut)
    return dict(sorted(arms.items(), key=lambda arm: average(arm[1], LOSS.read)))


def print_table(arms: Arms, columns: tuple[Column, ...]) -> None:
    whole = {key: trials for key, trials in arms.items() if not any(map(has_diverged, trials))}
    cells = [spell(whole, column) for column in columns]
    header = ("schedule", "rate", *(column.name for column in columns))
    rows = [header, ("---",) * len(header)]
    rows += [
        (name, f"{rate:g}", *(column[place] for column in cells))
        for place, (name, rate) in enumerate(whole)
    ]
    rows += [
        (name, f"{rate:g}", f"{sum(map(has_diverged, trials))} of {len(trials)} seeds diverged")
        + ("",) * (len(columns) - 1)
        for (name, rate), trials in arms.items()
        if (name, rate) not in whole
    ]
    print(*("| " + " | ".join(row) + " |" for row in rows), sep="\n")


def has_diverged(trial: TrialRecord) -> bool:
    return LOSS.read(trial.evals[-1]) > DIVERGED_NATS


if __name__ == "__main__":
    main()
