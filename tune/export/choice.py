"""Which trials go out, and from which checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.choice import PointResult, rank_points
from analysis.records import EvalRecord, SweepRecords, TrialRecord
from trainable.model.packable import is_toy
from trainable.storage.checkpoint import is_whole
from trainable.storage.remote import fetch_checkpoints
from trainable.trial import ConfigError, TrialConfig
from tune.folder.resume_command import spell_resume


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A finished trial at its end: what the leaderboard scored, and the checkpoint it scored."""

    records: SweepRecords
    trial: TrialRecord
    config: TrialConfig
    evaluation: EvalRecord
    checkpoint: Path


def choose_trials(
    records: SweepRecords, *, trial: str | None, metric: str, top: int
) -> list[Choice]:
    """The named trial, or the best `top` configurations, each by the best of its seeds. Those
    that trained longest come first, as in the leaderboard. Raises ConfigError."""
    if trial is not None:
        return [open_choice(records, find_trial(records, trial))]
    points = [p for p in rank_points(records) if any(is_exportable(t) for t in p.trials)]
    if not points:
        raise ConfigError(
            f"an export needs a finished trial with an adapter, and {records.name} has none "
            f"({records.describe_states() or 'no trials'}): finish it with "
            f"{spell_resume(records.folder, str(records.config.get('objective')))}"
        )
    if metric not in ("objective", records.objective):  # else the leaderboard's own order
        points.sort(
            key=lambda p: (-p.milestone_turns, not p.is_confirmed, -(p.mean(metric) or 0.0))
        )
    return [open_choice(records, pick_seed(point, metric)) for point in points[:top]]


def choose_seeds(records: SweepRecords, trial: str | None) -> list[Choice]:
    """All seeds of the best point, or of that trial's. Raises ConfigError where there is one."""
    if trial is not None:
        find_trial(records, trial)
    points = rank_points(records)
    wanted = (p for p in points if trial is None or any(t.id == trial for t in p.trials))
    point = next((p for p in wanted if any(is_exportable(t) for t in p.trials)), None)
    seeds = [t for t in point.trials if is_exportable(t)] if point else []
    if len(seeds) < 2:
        raise ConfigError(
            f"a mean needs two finished seeds of one point, and {records.name} has {len(seeds)}: "
            "train them with --seeds N, or --confirm K"
        )
    return [open_choice(records, seed) for seed in seeds]


def is_exportable(trial: TrialRecord) -> bool:
    is_lora = not trial.is_base and trial.config.get("method") == "lora"
    return is_lora and trial.state == "COMPLETE" and bool(trial.replied)


def pick_seed(point: PointResult, metric: str) -> TrialRecord:
    """The best of the seeds that left an adapter."""
    seeds = (
        point.trials[i] for i in point.list_seeds("value" if metric == "objective" else metric)
    )
    return next(trial for trial in seeds if is_exportable(trial))


def find_trial(records: SweepRecords, name: str) -> TrialRecord:
    """The trial called that. Raises ConfigError where it is not there or cannot be exported."""
    found = next((t for t in records.trials if t.id == name), None)
    if found is None:
        there = ", ".join(t.id for t in records.searched if is_exportable(t)) or "none"
        raise ConfigError(
            f"--trial must name a trial of {records.name}, and {name!r} is none: "
            f"those that can be exported are {there}"
        )
    if found.config.get("method") != "lora":
        raise ConfigError(
            f"only method=lora leaves an adapter to export, and trial {name} has method="
            f"{found.config.get('method')}: choose another --trial"
        )
    if not is_exportable(found):
        raise ConfigError(
            f"only a finished trial can be exported, and {name} is {found.state}"
            f"{f' ({found.reason})' if found.reason else ''}: choose another --trial"
        )
    return found


def open_choice(records: SweepRecords, trial: TrialRecord) -> Choice:
    """The trial with its last checkpoint. Raises ConfigError where that is torn or of a toy."""
    config = TrialConfig.from_dict(trial.config)
    if is_toy(config):
        raise ConfigError(
            f"base_model={config.base_model} is a formula without weights: nothing to export"
        )
    evaluation = trial.replied[-1]
    checkpoint = fetch_checkpoints(records.folder, trial.id) / str(evaluation.turns_seen)
    needed: Sequence[str] = ("adapter_config.json", "adapter_model.safetensors", "evaluation.json")
    if not is_whole(checkpoint) or not all((checkpoint / name).is_file() for name in needed):
        raise ConfigError(
            f"an export needs a whole checkpoint, and {checkpoint} is torn or gone: restore it, or "
            "choose another --trial"
        )
    return Choice(
        records=records, trial=trial, config=config, evaluation=evaluation, checkpoint=checkpoint
    )
