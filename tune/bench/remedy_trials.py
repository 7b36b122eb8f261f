"""The trials of `tune.bench.remedies`: random points with the same seeds each."""

import argparse
import re
from dataclasses import dataclass, field, replace

import numpy as np
import optuna
from torch import Tensor

from search_spaces.find import find_space
from trainable.corpus.encode import Window
from trainable.engine.slots.slot import Slot
from trainable.trial import TrialConfig
from tune.search.profiles import compose

# what a delexicalised reply should not spell: references, phones, trains, times
SPELT_OUT = re.compile(r"\b(?=[A-Z0-9]*\d)(?=[A-Z0-9]*[A-Z])[A-Z0-9]{7,8}\b|\d{5,}|\d{1,2}:\d\d")


@dataclass
class Trial:
    """A slot of the pack with the means of its weights."""

    key: str
    point: int
    seed: int
    arm: str  # constant | cosine | clean
    means: dict[str, Tensor] = field(default_factory=dict)  # way -> [width]
    marks: list[Tensor] = field(default_factory=list)  # weights at 7/9, 8/9, 9/9 of a rung
    averaged_steps: int = 0


def list_trials(options: argparse.Namespace) -> tuple[dict[str, TrialConfig], list[Trial]]:
    """Random points, drawn by Optuna from seed 0; base, context and quantisation are fixed, since
    they decide what a trial reads and not how it is trained."""
    fixed = {"context": "history+state+db", "quantisation": options.quantisation}
    fixed |= {"base_model": options.model, "corpus": options.corpus, "schedule": "constant"}
    space = find_space(options.space).fix(fixed)
    base = compose(options.profile, {"name": "remedies", "space": options.space}, {}).base
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(sampler=sampler)
    configs, trials = {}, []
    for point in range(options.points):
        drawn = study.ask(dict(space.searched)).params
        for arm in options.arms:
            for seed in range(options.seeds):
                schedule = "cosine" if arm == "cosine" else "constant"
                turns = options.rungs[-1]
                spelt = space.to_config(drawn, {**base, "train_turns": turns, "seed": seed})
                key = f"{point}-{arm}-{seed}"
                configs[key] = replace(spelt, schedule=schedule, averaging=None)
                trials.append(Trial(key, point, seed, arm))
        print(f"point {point}: {drawn}", flush=True)
    return configs, trials


def leave_out_spelt(slot: Slot) -> list[Window]:
    """The training windows with the replies that spell a value out left out of the targets."""
    turns = {d.id: d.turns for d in slot.task.corpus.get_split("train")}
    made, left_out = [], 0
    for window in slot.task.train:
        is_target = window.is_target.copy()
        for turn, prefix in zip(window.turns, window.prompts, strict=True):
            if not SPELT_OUT.search(turns[window.dialogue_id][turn].delexicalised):
                continue
            end = prefix + int(np.argmin([*window.is_target[prefix:], False]))
            if is_target.sum() > end - prefix:
                is_target[prefix:end], left_out = False, left_out + 1
        made.append(replace(window, is_target=is_target))
    print(f"clean: {left_out} replies are no targets", flush=True)
    return made
