"""What a clone is: another trial's config with some settings of its own, from scratch or from the
other's adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from search_spaces.distributions import contains
from search_spaces.space import Space
from trainable.storage.adapter_ranks import as_plain
from trainable.storage.checkpoint import find_last_whole
from trainable.storage.remote import fetch_checkpoints
from trainable.storage.resize import copy_adapter
from trainable.system.inside import stay_inside
from trainable.trial import ConfigError, TrialConfig
from tune.search.config import SweepConfig

CLONES = "clones"  # in a sweep's folder: warm clones' adapters
# what an adapter fits: at another rank or scale it is made to
KEPT_WARM = (
    "base_model",
    "initialisation",
    "method",
    "lora_modules",
    "lora_layers",
    "rank_pattern",
    "lora_init",
    "dora",
)


def spell_clone(
    original: TrialConfig, settings: Mapping[str, Any], warm: bool, sweep: SweepConfig
) -> TrialConfig:
    """The clone's config, a warm one's without the adapter to come. Fields that lose their meaning
    under the settings are dropped, those that gain one are the sweep's own. Raises ConfigError."""
    if not settings and not warm:
        raise ConfigError("a clone must differ from its original: give --set FIELD=VALUE or --warm")
    if warm and "adapter" in settings:
        raise ConfigError("--warm brings the adapter: leave out --set adapter=")
    if warm:
        original = as_plain(original)
    own = Space(name="clone", question="", searched={}, fixed=settings)
    clone = own.to_config({}, {**sweep.base, **original.to_dict()})
    if clone.train_turns > sweep.train_turns:
        raise ConfigError(
            f"no trial may train longer than the sweep: train_turns={clone.train_turns} is above "
            f"{sweep.train_turns} (--set train_turns=)"
        )
    kept = (*KEPT_WARM, "lora_rank") if original.rank_pattern else KEPT_WARM
    for name in kept if warm else ():
        if getattr(clone, name) != getattr(original, name):
            raise ConfigError(f"--warm cannot change {name} (its adapter has one): leave it out")
    if warm and clone.method != "lora":
        raise ConfigError(f"--warm needs an adapter, and method={clone.method} trains none")
    return clone


def is_inside(clone: TrialConfig, space: Space, base: Mapping[str, Any]) -> bool:
    """Whether the space could have proposed it: only then does the study learn from it."""
    point = space.to_point(clone)
    if not all(contains(space.searched[name], value) for name, value in point.items()):
        return False
    try:
        return space.to_config(point, base) == clone
    except ConfigError:
        return False


def locate_adapter(config: TrialConfig, folder: Path) -> TrialConfig:
    """The config with the whole path of an adapter that lies in the sweep's own folder: it is
    recorded from there, since the folder may move."""
    is_own = config.adapter is not None and config.adapter.startswith(f"{CLONES}/")
    return (
        replace(config, adapter=str(stay_inside(folder, str(config.adapter)))) if is_own else config
    )


def bring_adapter(folder: Path, trial: str, old: TrialConfig, name: str, new: TrialConfig) -> Path:
    """Copies the last adapter of `trial` for the clone `name`, fit for its config; the copy's
    folder. Raises ConfigError where there is none."""
    last, _ = find_last_whole(fetch_checkpoints(folder, trial))
    if last is None:
        raise ConfigError(
            f"--warm needs a checkpoint, and trial {trial} has none (it has not been evaluated, or "
            "was stopped: stopped trials' are removed); clone it without --warm"
        )
    target = folder / CLONES / name
    copy_adapter(last.path, target, as_plain(old), new)
    return target
