"""The sweep `methods` as a table: python analysis/results/methods/table.py

Every variant against the best of a column: means over the seeds, paired by seed, with 95 %
intervals that hold the noise of seeds and are corrected for all that are compared at once.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "layers"))
sys.path.insert(0, str(Path(__file__).parent))

from compare import LOSS, Column, average, spell
from points import name_of, read_costs

from analysis.labels import format_count
from analysis.records import TrialRecord, read_sweep

HERE = Path(__file__).parent
REPLIES = Column(name="Combined, greedy", digits=1, read=lambda e: e.combined or 0.0)


def main() -> None:
    arms = read_arms()
    costs = read_costs()
    has_replies = all(t.evals[-1].combined is not None for own in arms.values() for t in own)
    columns = [LOSS, REPLIES] if has_replies else [LOSS]
    cells = [spell(arms, column) for column in columns]
    names = [column.name for column in columns]
    rows = [("variant", "turns", "rate", "trainable", "a turn's time", *names)]
    rows.append(("---",) * len(rows[0]))
    for place, ((name, turns), trials) in enumerate(arms.items()):
        size, rate = trials[0].resolved, trials[0].params["learning_rate"]
        count = format_count(size.trainable_params if size else None)
        own = (name, f"{turns:,}", f"{rate:g}", count, f"{costs[name]:.2f}")
        rows.append((*own, *(column[place] for column in cells)))
    print(*("| " + " | ".join(row) + " |" for row in rows), sep="\n")


def read_arms() -> dict[tuple[str, int], list[TrialRecord]]:
    """(variant, turns) -> its trials; the lowest loss first."""
    arms: dict[tuple[str, int], list[TrialRecord]] = defaultdict(list)
    for trial in read_sweep(HERE / "methods").proposed:
        arms[name_of(trial.params), trial.config["train_turns"]].append(trial)
    return dict(sorted(arms.items(), key=lambda arm: average(arm[1], LOSS.read)))


if __name__ == "__main__":
    main()
