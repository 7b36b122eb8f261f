"""The sweep `layers` as a table and a figure: python analysis/results/layers/compare.py

Every arm against the first in a column: means over the seeds, paired by seed, with 95 % intervals
that hold the noise of seeds and are corrected for nine arms compared at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.claims.contrasts import Comparison, compare_with_highest
from analysis.claims.variance import Design, Noise, estimate_noise
from analysis.labels import format_count
from analysis.records import EvalRecord, TrialRecord, read_sweep

HERE = Path(__file__).parent
NAMES = {
    r"regexp:.*\.(o_proj|down_proj)": "o and down",
    "qv": "q and v",
    "all-linear": "all linear",
}


@dataclass(frozen=True, kw_only=True)
class Column:
    name: str
    digits: int
    read: Callable[[EvalRecord], float]
    sign: int = 1  # -1: lower is better


LOSS = Column(name="nats a word", digits=3, read=lambda e: e.nats_per_word or 0.0, sign=-1)
GREEDY = Column(name="Combined, greedy", digits=1, read=lambda e: e.combined or 0.0)
BIASED = Column(name="Combined, bias 1", digits=1, read=lambda e: (e.calibrated or {})["combined"])
F1 = Column(name="placeholders' F1", digits=1, read=lambda e: (e.placeholders or {})["f1"])
COLUMNS = (LOSS, GREEDY, BIASED, F1)

Arms = Mapping[tuple[str, float], list[TrialRecord]]


def main() -> None:
    arms = read_arms()
    print_table(arms)
    draw(arms, HERE / "layers.svg")


def read_arms() -> Arms:
    """(selection, rank) -> its trials; the lowest loss first."""
    arms: dict[tuple[str, float], list[TrialRecord]] = defaultdict(list)
    for trial in read_sweep(HERE / "layers").proposed:
        arms[trial.params["lora_modules"], trial.params["lora_rank"]].append(trial)
    return dict(sorted(arms.items(), key=lambda arm: average(arm[1], LOSS.read)))


def average(trials: list[TrialRecord], read: Callable[[EvalRecord], float]) -> float:
    return float(np.mean([read(t.evals[-1]) for t in trials]))


def print_table(arms: Arms) -> None:
    columns = [spell(arms, column) for column in COLUMNS]
    names = [column.name for column in COLUMNS]
    rows = [("LoRA on", "rank", "rate", "trainable", *names, "placeholders a reply")]
    rows.append(("---",) * len(rows[0]))
    for place, ((name, rank), trials) in enumerate(arms.items()):
        size, rate = trials[0].resolved, trials[0].params["learning_rate"]
        count = format_count(size.trainable_params if size else None)
        made = average(trials, lambda e: (e.placeholders or {})["per_reply"])
        own = (NAMES.get(name, name), str(rank), f"{rate:g}", count)
        rows.append((*own, *(column[place] for column in columns), f"{made:.2f}"))
    print(*("| " + " | ".join(row) + " |" for row in rows), sep="\n")


def spell(arms: Arms, column: Column) -> list[str]:
    """A cell an arm: its mean, and how far it is from the best with the interval."""
    noise, found = compare(arms, column)
    cells = []
    for place, (gap, half) in enumerate(zip(found.gaps, found.half_widths, strict=True)):
        cell = f"{column.sign * noise.means[place]:.{column.digits}f}"
        if place != int(found.highest):
            low, high = sorted((column.sign * (gap - half), column.sign * (gap + half)))
            mark = "" if found.is_behind[place] else "~ "
            numbers = [f"{number:+.{column.digits}f}" for number in (column.sign * gap, low, high)]
            cell += f" ({mark}{numbers[0]} [{numbers[1]}, {numbers[2]}])"
        cells.append(cell)
    return cells


def compare(arms: Arms, column: Column) -> tuple[Noise, Comparison]:
    trials = [(place, t) for place, group in enumerate(arms.values()) for t in group]
    design = Design(
        points=tuple(place for place, _ in trials),
        seeds=tuple(int(t.config["seed"]) for _, t in trials),
    )
    scores = np.array([column.sign * column.read(t.evals[-1]) for _, t in trials])
    noise = estimate_noise(scores, np.zeros((len(trials), len(trials))), design)
    return noise, compare_with_highest(noise)


def draw(arms: Arms, path: Path) -> None:
    """How far each arm is from the best, the best at the top."""
    from matplotlib.figure import Figure

    from analysis.static import Picture

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    names = [f"{NAMES.get(name, name)}, rank {rank}" for name, rank in arms]
    for panel, column in zip(panels, (LOSS, BIASED, GREEDY), strict=True):
        _, found = compare(arms, column)
        shades = ["#1f6fb2" if behind else "#8a8f98" for behind in found.is_behind]
        panel.axvline(0, color="#c8ccd2", linewidth=1)
        for place, (gap, half) in enumerate(zip(found.gaps, found.half_widths, strict=True)):
            panel.errorbar(
                column.sign * gap, place, xerr=half, fmt="o", color=shades[place], capsize=3
            )
        panel.set_xlabel(f"{column.name}, from the best")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    Picture(figure).save(path)


if __name__ == "__main__":
    main()
