"""What run.sh made, as table.md and table.csv: python analysis/results/models/table.py RUNS

A line an arm: means over its seeds, and of Combined the lowest and the highest seed. Of what was
scored by tune.evaluate alone (averaged seeds, test) there are scores and no training.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.records import SweepRecords, TrialRecord, read_sweep

STAGES = ("untuned", "tuned", "levers", "average", "sgd", "sampled", "states", "test")
# what tells an arm of a stage from another
TOLD = {"untuned": ("layout", "instruction"), "levers": ("target", "requests")}
SCORED = ("average", "test")  # stages whose scores are files of tune.evaluate
COLUMNS: tuple[str, ...] = (
    *("model", "arm", "split", "seeds", "nats a word", "BLEU", "Inform", "Success", "Combined"),
    *("seeds from", "to", "under a bias", "placeholders", "F1", "steps/s", "GiB", "minutes"),
)
Row = dict[str, Any]


def main(runs: Path) -> None:
    rows = [row for stage in STAGES for row in list_rows(runs, stage)]
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    lines += [tuple(show(row.get(name)) for name in COLUMNS) for row in rows]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    (runs / "table.md").write_text(f"{text}\n", encoding="utf-8")
    with (runs / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    print(text)


def list_rows(runs: Path, stage: str) -> Iterator[Row]:
    for folder in sorted(runs.glob(f"{stage}-*/evals.jsonl")):
        if folder.parent.name.startswith("sgd-first-"):
            continue
        yield from read_arms(read_sweep(folder.parent), stage)
    scored = defaultdict(list)
    for path in sorted(runs.glob(f"{stage}-*.json")) if stage in SCORED else ():
        content = json.loads(path.read_text())
        if "combined" in content:
            name = path.stem.removeprefix(f"{stage}-")
            scored[name.rpartition("-")[0] if stage == "test" else name].append(content)
    for model, contents in scored.items():
        arm = {"model": model, "arm": stage, "split": contents[0]["split"]}
        yield {**arm, **average(contents)}


def read_arms(records: SweepRecords, stage: str) -> Iterator[Row]:
    """The sweep's points, all seeds of one together."""
    model, names = records.name.removeprefix(f"{stage}-"), TOLD.get(stage, ())
    arms: dict[tuple[Any, ...], list[TrialRecord]] = defaultdict(list)
    for trial in records.trials:
        if trial.replied:
            arms[tuple(trial.config.get(name) for name in names)].append(trial)
    for told, trials in arms.items():
        values = [asdict(trial.replied[-1]) for trial in trials]
        own = dict(zip(names, told, strict=True))
        words = [f"{name}={v}" for name, v in own.items() if v and name != "instruction"]
        words += ["instruction"] * bool(own.get("instruction"))
        yield {
            "model": re.sub("-(lines|chat)-(bare|told)$", "", model),
            "arm": " ".join((stage, *words)),
            "split": "validation",
            **average(values),
            **measure_costs(trials),
        }


def average(values: Sequence[Row]) -> Row:
    """Over the seeds."""
    combined = [v["combined"] for v in values]
    placeholders = [v["placeholders"] or {} for v in values]
    biased = [(v.get("calibrated") or {}).get("combined") for v in values]
    return {
        "seeds": len(values),
        "nats a word": mean(v.get("nats_per_word") for v in values),
        **{name: mean(v[name.lower()] for v in values) for name in COLUMNS[5:9]},
        "seeds from": min(combined),
        "to": max(combined),
        "under a bias": mean(biased),
        "placeholders": mean(p.get("per_reply") for p in placeholders),
        "F1": mean(p.get("f1") for p in placeholders),
    }


def measure_costs(trials: Sequence[TrialRecord]) -> Row:
    last = [trial.replied[-1] for trial in trials]
    eval_s = [sum(e.eval_s for e in trial.evals) for trial in trials]
    return {
        "steps/s": mean(e.steps / e.train_s if e.train_s else None for e in last),
        "GiB": max(e.peak_gib for e in last),
        "minutes": mean((e.train_s + s) / 60 for e, s in zip(last, eval_s, strict=True)),
    }


def mean(values: Any) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return "" if value is None else str(value)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
