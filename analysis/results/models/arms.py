"""What run.sh made, arm by arm: one setting of one stage with all its seeds."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analysis.noise import DialogueCounts, build_counts, read_counts
from analysis.ranking import find_best
from analysis.records import SweepRecords, TrialRecord, read_sweep

STAGES = (
    *("untuned", "search", "tuned", "levers", "acts", "booked", "sgd", "sampled"),
    *("states", "gold", "final", "planned", "final_booked", "planned_booked", "served"),
)
# what tells an arm of a stage from another
LEVERS = ("target", "requests")
TOLD = {"untuned": ("layout", "instruction"), **dict.fromkeys(("levers", "acts", "booked"), LEVERS)}
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Arm:
    model: str
    stage: str
    name: str  # the stage, and what tells the arm from its others
    values: tuple[Row, ...]  # one a seed: the fields of an EvalResult, as far as there are any
    seeds: tuple[int, ...]  # of those
    counts: tuple[DialogueCounts, ...]  # of those, dialogue by dialogue
    trials: tuple[TrialRecord, ...] = ()  # of those; none of what tune.evaluate alone scored
    minutes: float | None = None  # of the GPU, a seed; of a search the whole of it

    @property
    def split(self) -> str:
        return str(self.values[0]["split"])

    @property
    def states(self) -> str:
        """gold (policy optimisation board) or predicted (end-to-end board)"""
        return str(self.values[0]["states"])


def list_arms(runs: Path) -> list[Arm]:
    """In the order of the stages, then what was scored by tune.evaluate alone."""
    arms: list[Arm] = []
    for stage in STAGES:
        for path in sorted(runs.glob(f"{stage}-*/evals.jsonl")):
            if not path.parent.name.startswith("sgd-first-"):
                arms += read_arms(read_sweep(path.parent), stage)
    folders = sorted(path for path in runs.glob("scored/*/*") if path.is_dir())
    return [*arms, *map(read_scored, folders)]


def read_arms(records: SweepRecords, stage: str) -> Iterator[Arm]:
    """The sweep's points, all seeds of one together; of a search its best alone."""
    groups: dict[str, list[TrialRecord]] = defaultdict(list)
    for trial in choose_trials(records, stage):
        groups[" ".join((stage, *tell(trial, stage)))].append(trial)
    for arm, trials in groups.items():
        yield Arm(
            model=records.folder.name.removeprefix(f"{stage}-"),
            stage=stage,
            name=arm,
            values=tuple(asdict(trial.replied[-1]) for trial in trials),
            seeds=tuple(int(trial.config["seed"]) for trial in trials),
            counts=tuple(keep_known(read_counts(records.folder, trial.id) for trial in trials)),
            trials=tuple(trials),
            minutes=sum(map(count_minutes, records.trials)) / (len(trials) * len(groups)),
        )


def choose_trials(records: SweepRecords, stage: str) -> list[TrialRecord]:
    if stage != "search":
        return [trial for trial in records.trials if trial.replied]
    best = find_best(records)
    return [best.trial] if best else []


def tell(trial: TrialRecord, stage: str) -> Iterator[str]:
    for name in TOLD.get(stage, ()):
        value = trial.config.get(name)
        if value and value != "response":
            yield str(value) if isinstance(value, str) and name != "instruction" else name


def count_minutes(trial: TrialRecord) -> float:
    """Its share of the GPU, for training and evaluations."""
    train_s = trial.evals[-1].train_s if trial.evals else 0.0
    return (train_s + sum(e.eval_s for e in trial.evals)) / 60


def read_scored(folder: Path) -> Arm:
    """What `score` of run.sh wrote: STAGE/MODEL/greedy-SEED.json, and mostly bias-SEED.json."""
    paths = sorted(folder.glob("greedy-*.json"))
    values = [json.loads(path.read_text()) for path in paths]
    for path, value in zip(paths, values, strict=True):
        beside = path.with_name(path.name.replace("greedy", "bias"))
        if beside.is_file():
            biased = json.loads(beside.read_text())
            value["calibrated"] = {"combined": biased["combined"], **(biased["placeholders"] or {})}
    stage = folder.parent.name
    return Arm(
        model=folder.name,
        stage=stage,
        name=stage.replace("-", " of "),
        values=tuple(values),
        seeds=tuple(int(path.stem.removeprefix("greedy-")) for path in paths),
        counts=tuple(keep_known(build_counts(dict(value["dialogues"])) for value in values)),
    )


def keep_known(counts: Iterable[DialogueCounts | None]) -> Iterator[DialogueCounts]:
    for own in counts:
        assert own is not None, "an arm has replies without counts"
        yield own
