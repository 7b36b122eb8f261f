"""What a sweep's checkpoints will take on disk."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from trainable.model.packable import is_toy
from trainable.storage.adapter_ranks import as_plain
from trainable.storage.checkpoint import KEPT_LAST, LARGE_BYTES
from trainable.trial import TrialConfig
from tune.folder.disk import GIB, format_bytes
from tune.search.config import SweepConfig

BYTES_A_WEIGHT = 4  # in 32 bits
BYTES_A_PARAM = 12  # of a checkpoint: the weights that are scored and AdamW's two moments
BYTES_OF_LAST = 4  # where the weights that are scored are not the last ones
BYTES_A_DIALOGUE = 1500  # replies and counts, in a checkpoint and in trials/
WRITTEN = 1 / 4  # of the trials that run: their next checkpoint is being written


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Bytes."""

    peak: int  # expected when it is fullest
    most: int  # if every trial that runs is as large as the largest, and all are written at once
    kept: int  # when the sweep has ended


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes of one trial's checkpoints."""

    one: int  # that training can go on from
    under_way: int  # of all that are kept while it runs, or waits at a rung
    ended: int


def expect_disk(
    config: SweepConfig,
    trials: Sequence[TrialConfig],
    reached: Sequence[float],
    running: int,
    repeats: int,
) -> Disk:
    """`reached`: trials at each rung and at the end; `running`: at a time; `repeats`: confirmations
    to come. Raises ConfigError where a base model's size cannot be told."""
    each = measure_each(config, trials)
    under_way, one = fmean(f.under_way for f in each), fmean(f.one for f in each)
    largest, largest_one = max(f.under_way for f in each), max(f.one for f in each)
    details = (config.trials + repeats) * config.eval_dialogues[-1] * BYTES_A_DIALOGUE
    n_ended, n_parked = reached[-1] + repeats, count_parked(config, reached)
    kept = n_ended * fmean(f.ended for f in each) + details
    peak = running * (under_way + WRITTEN * one) + limit_parked(config, n_parked * under_way)
    most = n_ended * max(f.ended for f in each) + details
    most += running * (largest + largest_one) + limit_parked(config, n_parked * largest)
    return Disk(peak=int(kept + peak), most=int(most), kept=int(kept))


def measure_each(config: SweepConfig, trials: Sequence[TrialConfig]) -> list[Footprint]:
    return [measure_footprint(config, trial, len(config.rungs_turns)) for trial in trials]


def measure_footprint(config: SweepConfig, trial: TrialConfig, rungs: int) -> Footprint:
    """By what `keep_best_and_last` leaves of it."""
    details = config.eval_dialogues[-1] * BYTES_A_DIALOGUE
    whole = count_checkpoint_bytes(trial)
    is_large = whole > LARGE_BYTES
    bare = BYTES_A_WEIGHT * count_params(trial) if is_large else whole
    # replies at rungs are scored, and an older checkpoint may be the best
    older = 1 if rungs and config.rung_metric != "loss" else 0
    last = 1 if is_large else min(KEPT_LAST, max(rungs, 1))
    return Footprint(
        one=whole + details,
        under_way=last * (whole + details) + older * (bare + details),
        ended=(1 + older) * (bare + details),
    )


def count_parked(config: SweepConfig, reached: Sequence[float]) -> float:
    """Trials that wait at a rung, of all that are expected to."""
    if config.asha != "promote":
        return 0.0
    return sum(there - beyond for there, beyond in pairwise(reached))


def limit_parked(config: SweepConfig, n_bytes: float) -> float:
    """Of what those that wait would keep: see tune.search.parking."""
    return min(n_bytes, config.parked_gib * GIB)


def count_room(config: SweepConfig, trials: Sequence[TrialConfig]) -> float:
    """Trials that may wait with their checkpoints."""
    return config.parked_gib * GIB / fmean(f.under_way for f in measure_each(config, trials))


def count_checkpoint_bytes(trial: TrialConfig) -> int:
    """Of one checkpoint that training can go on from, replies left out."""
    copies = BYTES_A_PARAM + (BYTES_OF_LAST if trial.averaging else 0)
    copies *= 2 if trial.schedule == "wsd" else 1  # its stable run beside it
    return copies * count_params(trial)


def count_params(trial: TrialConfig) -> int:
    """That are trained, and stored."""
    if is_toy(trial) or trial.method == "none":
        return 0
    from trainable.model.sizes import read_sizes

    sizes = read_sizes(trial.base_model)
    return sizes.total_params if trial.method == "full" else sizes.count_adapter(as_plain(trial))


def tell_disk(folder: Path, disk: Disk) -> None:
    """Where what is free is enough for what is expected, and not for the worst."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < disk.most:
        print(
            f"note: the disk of {folder} has {format_bytes(free_bytes)} free: enough for the "
            f"{format_bytes(disk.peak)} expected, but not for the {format_bytes(disk.most)} that "
            "checkpoints may take at most; a full disk pauses the sweep",
            file=sys.stderr,
        )
