"""What a sweep will cost: trials at each rung, hours, disk. Says what it assumes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from analysis.machines import FORWARD
from search_spaces.space import Space
from trainable.model.packable import why_alone
from trainable.result import ValidationRequest
from trainable.trial import TrialConfig
from tune.plan.disk import Disk, count_room, expect_disk
from tune.plan.pace import Pace, find_pace
from tune.plan.played_race import Turnout, expect_turnout
from tune.search.config import SweepConfig
from tune.search.confirm import count_fresh_seeds
from tune.search.milestones import list_milestones
from tune.search.profiles import count_gpus
from tune.search.proposals import Tried, propose
from tune.workers.packing import UNMEASURED_SLOTS

SAMPLED = 16  # trials that a sweep is judged by


@dataclass(frozen=True, kw_only=True)
class Estimate:
    turnout: Turnout
    hours: float  # of all GPUs, or of all cores
    unit: str  # GPU | core
    room: int  # trials at a time
    disk: Disk
    assumes: tuple[str, ...]


def estimate(config: SweepConfig, space: Space) -> Estimate:
    """Raises ConfigError where a base model's size cannot be told."""
    trials = sample_trials(config, space)
    turnout = expect_turnout(config, count_room(config, trials))
    unit = "GPU" if count_gpus() else "core"
    paces = {t: find_pace(t, unit, Path(config.storage)) for t in trials}
    searched_s = config.trials * fmean(cost_s(config, t, turnout, paces[t]) for t in trials)
    repeats = sum(count_fresh_seeds(config.confirm))
    hours = (searched_s + repeats * fmean(confirm_s(config, t, paces[t]) for t in trials)) / 3600
    room = config.concurrent or guess_room(config, trials)
    return Estimate(
        turnout=turnout,
        hours=hours,
        unit=unit,
        room=room,
        disk=expect_disk(config, trials, turnout.reached, min(room, config.trials), repeats),
        assumes=tuple(dict.fromkeys(pace.why for pace in paces.values())),
    )


def sample_trials(config: SweepConfig, space: Space) -> list[TrialConfig]:
    """Those that the sweep would propose if it learnt nothing."""
    tried: list[Tried] = []
    for number in range(min(config.trials, SAMPLED)):
        point = propose(space, tried, config.seed, number)
        if point is None:
            break
        tried.append(Tried(params=point, state="RUNNING"))
    return [space.to_config(t.params, config.base) for t in tried]


def cost_s(config: SweepConfig, trial: TrialConfig, turnout: Turnout, pace: Pace) -> float:
    """Seconds that such a trial takes on average, stopped early or not."""
    milestones = list_milestones(config, trial.train_turns)
    turns = (0, *(m.turns for m in milestones))
    total_s = 0.0
    for i, ((before, after), milestone) in enumerate(zip(pairwise(turns), milestones, strict=True)):
        trained_s = (turnout.reached[i] + turnout.again[i]) * (after - before) * pace.turn_s
        total_s += trained_s + turnout.reached[i] * validate_s(milestone.asked, pace)
    return total_s / config.trials


def validate_s(asked: ValidationRequest, pace: Pace) -> float:
    """Seconds of an evaluation: replies are written token by token; a loss is read off one forward
    pass."""
    n_dialogues = pace.dialogues if asked.n_dialogues is None else asked.n_dialogues
    if not asked.replies:
        return n_dialogues * pace.turns_a_dialogue * FORWARD * pace.turn_s
    return n_dialogues * pace.dialogue_s * (1 if asked.bias is None else 2)


def confirm_s(config: SweepConfig, trial: TrialConfig, pace: Pace) -> float:
    """Seconds of one fresh seed of such a trial, to the end."""
    milestones = list_milestones(config, trial.train_turns, is_confirmation=True)
    return trial.train_turns * pace.turn_s + sum(validate_s(m.asked, pace) for m in milestones)


def guess_room(config: SweepConfig, trials: Iterable[TrialConfig]) -> int:
    """Trials at a time on this machine, before Ray has told what there is."""
    gpus = count_gpus()
    slots = int(config.pack) if config.pack.isdecimal() else UNMEASURED_SLOTS
    if any(why_alone(t) for t in trials) or (config.pack == "auto" and not gpus):
        slots = 1
    return slots * gpus if gpus else max(slots, os.cpu_count() or 1)
