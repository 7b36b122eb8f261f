"""A new sweep as its flags spell it, checked before anything is written."""

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from analysis.labels import label_objective
from search_spaces.find import find_space, list_spaces
from search_spaces.notation import read_space
from search_spaces.space import Space
from trainable.evaluation.objective import COMBINED, Objective
from trainable.storage.adapter import inherit
from trainable.system.environment import set_environment
from trainable.trial import ConfigError, TrialConfig
from tune.folder.recorder import Recorder
from tune.folder.trackers import check_backends
from tune.plan.checks import check_seeds, check_space, check_train_turns
from tune.plan.defaults import check_calibration, choose_confirmed, choose_rung_metric
from tune.plan.flags import parse_settings, pick_name
from tune.plan.recommendation import start_well
from tune.plan.task import check_task, choose_objective, find_task_defaults, spell
from tune.plan.warm_start import warm_start
from tune.search.config import FLAGS, SweepConfig
from tune.search.confirm import describe_fresh_seeds
from tune.search.profiles import compose, pick_profile
from tune.search.search import Search


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sweep to run, or to go on with."""

    config: SweepConfig
    space: Space
    configs: list[TrialConfig] = field(default_factory=list)  # the space's corners
    why: str = ""  # the profile
    objective: Objective = COMBINED  # the config's, with its source where that is Python
    is_resumed: bool = False

    def open_search(self, recorder: Recorder) -> Search:
        """The search before its first trial."""
        return Search(self.config, self.space, recorder, self.objective)


def plan_sweep(flags: argparse.Namespace) -> Plan:
    """What a new sweep with these flags is. Raises ConfigError."""
    space = open_space(flags).fix(parse_settings(flags.set))
    brought = inherit(space.fixed.get("adapter"))
    space = space.adopt(brought)
    profile, why = pick_profile(flags.profile)
    given = collect(flags, space)
    if given["base"] is None:  # else it says all fields
        brought = {**find_task_defaults(space, profile), **brought}
    config = compose(profile, given, brought)
    space = space.on(config.base)
    set_environment(config.deterministic, config.trust_remote_code)
    space = space.fit_lengths(config.train_turns)
    if names := [name for part in flags.warm_start or () for name in part]:
        space = warm_start(space, names, flags.storage)
    configs = check_space(space, config.base)
    if not names and is_ours(flags):
        space = start_well(space, config.base)
        configs = check_space(space, config.base)
    check_train_turns(configs, config.train_turns)
    check_seeds(space, config.seeds)
    objective = choose_objective(flags.objective, flags.direction, configs)
    check_calibration(config.calibrate, configs, objective.name)
    check_task(configs)
    rung_metric, name = flags.rung_metric or "auto", objective.name
    config = replace(
        config,
        **spell(objective, flags.objective),
        rung_metric=choose_rung_metric(rung_metric, configs, config.asha, name),
        confirm=choose_confirmed(flags.confirm, config, space),
    )
    return Plan(config=config, space=space, configs=configs, why=why, objective=objective)


def is_ours(flags: argparse.Namespace) -> bool:
    """Whether the space is one that ships with the package: of others the first points are asked
    for."""
    return flags.mappings.get("space") is None and flags.space in list_spaces()


def open_space(flags: argparse.Namespace) -> Space:
    if (given := flags.mappings.get("space")) is not None:
        return given if isinstance(given, Space) else read_space(given)
    if not flags.space:
        raise ConfigError("a sweep needs --space NAME, or --resume NAME")
    return find_space(flags.space)


def collect(flags: argparse.Namespace, space: Space) -> dict[str, Any]:
    """Fields of SweepConfig that the flags give; None: they do not."""
    given = {name: getattr(flags, name) for name in FLAGS}
    if given["rung_metric"] == "auto":
        given["rung_metric"] = None
    check_backends(given["report_to"] or ())
    # a space that trains nothing (train_turns=0) leaves the sweep's own length as it is
    given["train_turns"] = space.fixed.get("train_turns") or flags.train_turns
    given["name"] = flags.name or pick_name(Path(flags.storage), space.name)
    return given | {
        "space": flags.space or space.name,
        "storage": flags.storage,
        "trust_remote_code": flags.trust_remote_code,
        "base": flags.mappings.get("base"),
    }


def announce(plan: Plan) -> None:
    """Prints what will be searched, how long and on what it is decided."""
    config, space = plan.config, plan.space
    base = {**config.base, **space.fixed}
    print(f"sweep {config.name}: {space.question}")
    last = config.seed + config.seeds - 1
    seeds = f"seed {config.seed}" if config.seeds == 1 else f"seeds {config.seed} to {last} a point"
    print(
        f"profile {config.profile} ({plan.why}): {base['base_model']} on {base['corpus']}; "
        f"{config.trials} trials of up to {config.train_turns} turns, {seeds}"
    )
    if adapter := base.get("adapter"):
        print(f"adapter {adapter}: model, text and decoding are its trial's where nothing is set")
    name = label_objective(config.objective)
    by = "the loss" if config.rung_metric == "loss" else name
    turns = ", ".join(map(str, config.rungs_turns))
    rungs = f"rungs at {turns} turns decide by {by} (asha {config.asha})" if turns else "no rungs"
    print(f"searched: {', '.join(space.searched)}; {rungs}, the end by {name}")
    if config.confirm:
        print(
            f"then the best {config.confirm} points once more, one of every choice first, with "
            f"{describe_fresh_seeds(config.confirm)}, on all validation dialogues (--confirm)"
        )
