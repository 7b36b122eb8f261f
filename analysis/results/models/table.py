"""What run.sh made, as table.csv, and in parts with fewer columns as table.md:
python analysis/results/models/table.py RUNS

A line an arm: means over its seeds. Of what was scored by tune.evaluate alone (averaged seeds,
test) there are scores and no training.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from arms import Arm, Row, list_arms
from paired import GAPS, find_gaps, find_intervals, find_plain

MODELS = {  # family, tuning, MB of the GGUF file
    "smollm2-135m": ("Llama", "instruct", 98),
    "gemma3-270m": ("Gemma 3", "base", 253),
    "qwen2.5-coder-0.5b": ("Qwen2", "instruct (code)", 491),
    "qwen2.5-coder-1.5b": ("Qwen2", "instruct (code)", 1117),
}
ABOUT = ("family", "made for", "M", "bits a weight in its file")
SCORES = ("BLEU", "Inform", "Success", "Combined")
BIASED = ("Combined under a bias", "placeholders under it")
COSTS = ("steps/s", "replies/s", "GiB", "GPU minutes")
COLUMNS: tuple[str, ...] = (
    *("model", *ABOUT, "held as", "arm", "split", "states", "dialogues", "seeds", "nats a word"),
    *(*SCORES, "±", "seeds from", "to", "richness", "placeholders", "F1", "joint accuracy"),
    *(*BIASED, "held against", *GAPS, *COSTS),
)
TABLES: dict[str, tuple[str, ...]] = {  # of table.md
    "Scores": (
        *("model", "arm", "split", "states", "dialogues", "seeds", "nats a word", *SCORES, "±"),
        *("richness", "placeholders", "F1", "joint accuracy", *BIASED),
    ),
    "Differences": ("model", "arm", "held against", *GAPS),
    "Costs": ("model", "arm", *COSTS),
    "Models": ("model", *ABOUT),
}
KEY = ("model", "arm")
DIGITS = {
    **{"nats a word": 3, "nats from it": 3, "richness": 3},
    **{"placeholders": 2, "placeholders under it": 2},
}
DOMAINS = ("attraction", "hotel", "restaurant", "taxi", "train")


def main(runs: Path) -> None:
    arms = list_arms(runs)
    sizes = {arm.model: t.resolved.total_params for arm in arms for t in arm.trials if t.resolved}
    arms.sort(key=lambda arm: sizes[arm.model])
    rows = list(list_rows(arms, sizes))
    with (runs / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    parts = [write_table(title, columns, rows) for title, columns in TABLES.items()]
    if ceilings := list(list_ceilings(runs)):
        parts.append(write_table("Ceilings", tuple(ceilings[0]), ceilings))
    text = "\n".join(parts)
    (runs / "table.md").write_text(text, encoding="utf-8")
    print(text, end="")


def list_rows(arms: Sequence[Arm], sizes: Mapping[str, int]) -> Iterator[Row]:
    gaps, intervals = compare(arms)
    for place, arm in enumerate(arms):
        held = [trial.resolved.base_residency for trial in arm.trials if trial.resolved]
        yield {
            "model": arm.model,
            **dict(zip(ABOUT, describe_model(arm.model, sizes[arm.model]), strict=True)),
            "held as": held[0] if held else None,
            **{"arm": arm.name, "split": arm.split, "states": arm.states},
            **average_scores(arm),
            "±": intervals[place],
            **gaps[place],
            **measure_costs(arm),
        }


def compare(arms: Sequence[Arm]) -> tuple[dict[int, Row], dict[int, float]]:
    """Of each place: how far the arm is from what it is held against; half of its interval."""
    alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)  # what can be compared
    for place, arm in enumerate(arms):
        alike[arm.states, arm.split, arm.values[0]["n_dialogues"]].append(place)
    gaps: dict[int, Row] = defaultdict(dict)
    intervals: dict[int, float] = {}
    for places in alike.values():
        own = [arms[place] for place in places]
        for name, read in GAPS.items():
            for i, (middle, half) in find_gaps(own, read).items():
                gaps[places[i]][name] = spell_gap(middle, half, DIGITS.get(name, 1))
        for place, arm in zip(places, own, strict=True):
            if place in gaps and (plain := find_plain(arm, own)):
                against = plain.name if plain.model == arm.model else f"{plain.model}'s"
                gaps[place]["held against"] = against
        for model in {arm.model for arm in own}:
            found = find_intervals([arm for arm in own if arm.model == model])
            intervals |= {p: found[arms[p].name] for p in places if arms[p].model == model}
    return gaps, intervals


def describe_model(name: str, params: int) -> tuple[Any, ...]:
    family, made_for, megabytes = MODELS.get(name, ("", "", 0))
    return family, made_for, round(params / 1e6), round(8e6 * megabytes / params, 1)


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
    return {
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


def spell_gap(middle: float, half: float, digits: int) -> str:
    """The difference with its interval; ~: not significant."""
    mark = "~ " if abs(middle) <= half else ""
    told, low, high = (f"{value:+.{digits}f}" for value in (middle, middle - half, middle + half))
    return f"{mark}{told} [{low}, {high}]"


def write_table(title: str, columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Each line once, and none that has nothing beside its key."""
    shown = [tuple(show(name, row.get(name)) for name in columns) for row in rows]
    told = [n for n, name in enumerate(columns) if name not in KEY]
    lines = [line for line in dict.fromkeys(shown) if any(line[n] for n in told)]
    lines = [tuple(columns), ("---",) * len(columns), *lines]
    return f"### {title}\n" + "".join("| " + " | ".join(line) + " |\n" for line in lines)


def show(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.{DIGITS.get(name, 1)}f}"
    return "" if value is None else str(value)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
