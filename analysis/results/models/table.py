"""What run.sh made, as table.csv, and with fewer columns as table.md:
python analysis/results/models/table.py RUNS

A line an arm: means over its seeds. Of what was scored by tune.evaluate alone (averaged seeds,
test) there are scores and no training. Below it the ceilings.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from arms import Arm, Row, list_arms
from paired import find_gaps, find_intervals, read_combined, read_f1

MODELS = {  # family, parameters in millions, tuning, MB of the GGUF file
    "smollm2-135m": ("Llama", 135, "instruct", 98),
    "gemma3-270m": ("Gemma 3", 268, "base", 253),
    "qwen2.5-coder-0.5b": ("Qwen2", 494, "instruct (code)", 491),
    "qwen2.5-coder-1.5b": ("Qwen2", 1544, "instruct (code)", 1117),
}
ABOUT = ("family", "M", "made for", "bits a weight in its file")
SCORES = ("BLEU", "Inform", "Success", "Combined")
COLUMNS: tuple[str, ...] = (
    *("model", *ABOUT, "arm", "split", "states", "dialogues", "seeds", "nats a word"),
    *(*SCORES, "±", "seeds from", "to", "richness", "placeholders", "F1"),
    *("joint accuracy", "Combined under a bias", "placeholders under it"),
    *("Combined from tuned", "F1 from tuned"),
    *("held as", "steps/s", "replies/s", "GiB", "GPU minutes"),
)
SHORT = tuple(  # of table.md
    name for name in COLUMNS if name not in ("dialogues", "seeds from", "to", "held as")
)
DIGITS = {"nats a word": 3, "richness": 3, "placeholders": 2, "placeholders under it": 2}
DOMAINS = ("attraction", "hotel", "restaurant", "taxi", "train")


def main(runs: Path) -> None:
    rows = sorted(list_rows(list_arms(runs)), key=lambda row: row["model"])
    with (runs / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    text = write_table(SHORT, rows)
    if ceilings := list(list_ceilings(runs)):
        text += "\n" + write_table(tuple(ceilings[0]), ceilings)
    (runs / "table.md").write_text(text, encoding="utf-8")
    print(text, end="")


def list_rows(arms: Sequence[Arm]) -> Iterator[Row]:
    alike: dict[tuple[Any, ...], list[Arm]] = defaultdict(list)  # what can be compared
    for arm in arms:
        alike[arm.model, arm.states, arm.split, arm.values[0]["n_dialogues"]].append(arm)
    for own in alike.values():
        intervals = find_intervals(own)
        combined, f1 = find_gaps(own, read_combined), find_gaps(own, read_f1)
        for arm in own:
            yield {
                "model": arm.model,
                **dict(zip(ABOUT, describe_model(arm.model), strict=True)),
                **{"arm": arm.name, "split": arm.split, "states": arm.states},
                **average_scores(arm),
                "±": intervals.get(arm.name),
                "Combined from tuned": spell_gap(combined.get(arm.name)),
                "F1 from tuned": spell_gap(f1.get(arm.name)),
                **measure_costs(arm),
            }


def describe_model(name: str) -> tuple[Any, ...]:
    if name not in MODELS:
        return ("", "", "", "")
    family, millions, made_for, megabytes = MODELS[name]
    return family, millions, made_for, round(8 * megabytes / millions, 1)


def average_scores(arm: Arm) -> Row:
    """Over the seeds."""
    values = arm.values
    combined = [v["combined"] for v in values]
    placeholders = [v["placeholders"] or {} for v in values]
    biased = [v.get("calibrated") or {} for v in values]
    return {
        **{"dialogues": values[0]["n_dialogues"], "seeds": len(values)},
        "nats a word": average(v.get("nats_per_word") for v in values),
        **{name: average(v[name.lower()] for v in values) for name in SCORES},
        **{"seeds from": min(combined), "to": max(combined)},
        "richness": average(v["richness"].get("msttr") for v in values),
        "placeholders": average(p.get("per_reply") for p in placeholders),
        "F1": average(p.get("f1") for p in placeholders),
        "joint accuracy": average((v["dst"] or {}).get("joint_accuracy") for v in values),
        "Combined under a bias": average(b.get("combined") for b in biased),
        "placeholders under it": average(b.get("per_reply") for b in biased),
    }


def measure_costs(arm: Arm) -> Row:
    """Rates of the device: a trial's seconds are its share of passes that several trials share."""
    last = [trial.replied[-1] for trial in arm.trials]
    replies = [e.n_turns * (2 if e.calibrated else 1) for e in last]
    made = [n / e.generate_s if e.generate_s else None for n, e in zip(replies, last, strict=True)]
    held = [trial.resolved.base_residency for trial in arm.trials if trial.resolved]
    return {
        "held as": held[0] if held else None,
        "steps/s": average(e.steps / e.train_s if e.train_s else None for e in last),
        "replies/s": average(made),
        "GiB": max((e.peak_gib for e in last), default=None),
        "GPU minutes": arm.minutes,
    }


def list_ceilings(runs: Path) -> Iterator[Row]:
    for path in sorted(runs.glob("ceilings/*.json")):
        content = json.loads(path.read_text())
        for row in content["rows"]:
            yield {
                **{"system": path.stem, "split": content["split"]},
                **{"replies": row["replies"], "states": row["states"]},
                **{name: row[name.lower()] for name in SCORES},
                **{f"Success, {d}": row["success_by_domain"].get(d) for d in DOMAINS},
            }


def average(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def spell_gap(gap: tuple[float, float | None] | None) -> str | None:
    """The difference with its interval; ~: not significant."""
    if gap is None:
        return None
    middle, half = gap
    if half is None:
        return f"{middle:+.1f}"
    mark = "~ " if abs(middle) <= half else ""
    return f"{mark}{middle:+.1f} [{middle - half:+.1f}, {middle + half:+.1f}]"


def write_table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    lines = [tuple(columns), ("---",) * len(columns)]
    lines += [tuple(show(name, row.get(name)) for name in columns) for row in rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def show(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.{DIGITS.get(name, 1)}f}"
    return "" if value is None else str(value)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
