"""A resumed sweep as its folder and its flags spell it, checked before anything is written."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from analysis.records import SweepRecords, read_sweep
from search_spaces.find import find_space
from search_spaces.space import Space
from trainable.system.environment import set_environment
from trainable.system.inside import check_links
from trainable.trial import ConfigError
from tune.folder.disk import measure_bytes
from tune.folder.find import find_folder
from tune.folder.trackers import check_backends
from tune.plan.checks import RESUMED, check_disk, check_materials, check_space
from tune.plan.defaults import choose_rung_metric
from tune.plan.estimate import estimate
from tune.plan.new import Plan
from tune.plan.resumption import check_files, check_same_bases, check_trials
from tune.plan.task import rehearse_objective, trust_again
from tune.search.config import FLAGS, SweepConfig
from tune.search.rebuild import check_configs, check_widened, read_settings


def open_resumed(flags: argparse.Namespace) -> Plan:
    """Raises ConfigError."""
    refuse_changes(flags)
    folder = find_folder(flags.resume, Path(flags.storage))
    check_links(folder)
    records = read_sweep(folder)
    check_files(records.folder)
    check_trials(records, flags.trials)
    config, space = read_settings(records)
    objective = trust_again(config, flags.objective, flags.direction)
    check_configs(records)
    for warning in records.warnings:
        print(f"{config.name}: {warning}", file=sys.stderr)
    if flags.space:
        space = widen(space, flags.space, config, records)
    config = change(config, space, records, flags)
    set_environment(config.deterministic, flags.trust_remote_code)
    if config.trust_remote_code and not flags.trust_remote_code:
        print(f"{config.name} ran with --trust-remote-code: that counts for one command, not here")
    config = replace(config, trust_remote_code=config.trust_remote_code or flags.trust_remote_code)
    configs = check_space(space, config.base)
    if config.rung_metric == "loss":  # its space may have widened
        choose_rung_metric(config.rung_metric, configs, config.asha, objective.name)
    check_materials(configs)
    rehearse_objective(objective, configs[0])
    check_same_bases(records, configs)
    to_come = estimate(config, space).disk.peak - measure_bytes(config.folder)
    check_disk(config.folder, to_come, RESUMED)
    why = f"resumed from {records.folder}"
    return Plan(
        config=config, space=space, configs=configs, why=why, objective=objective, is_resumed=True
    )


def refuse_changes(flags: argparse.Namespace) -> None:
    """What a resumed sweep keeps."""
    if flags.dry_run:
        raise ConfigError(
            f"--dry-run says what a new sweep would do: tune.status {flags.resume} says how this "
            "one stands"
        )
    given = [n for n, f in FLAGS.items() if getattr(flags, n) is not None and not f.resumable]
    given += ["profile"] if flags.profile != "auto" else []
    given += [name for name in ("set", "warm_start") if getattr(flags, name)]
    for name in given:
        flag = "--no-baseline" if name == "baseline" else spell_flag(name)
        allowed = ", ".join(spell_flag(n) for n, f in FLAGS.items() if f.resumable)
        raise ConfigError(
            f"{flag} cannot change with --resume: only {allowed}, --trust-remote-code, --space can"
        )


def spell_flag(name: str) -> str:
    return FLAGS[name].spell(name) if name in FLAGS else "--" + name.replace("_", "-")


def widen(space: Space, name: str, config: SweepConfig, records: SweepRecords) -> Space:
    found = find_space(name)
    fixed = {n: v for n, v in space.fixed.items() if n not in found.searched}
    wide = found.fix(fixed).on(config.base).fit_lengths(config.train_turns)
    check_widened(wide, records)
    return wide


def change(
    config: SweepConfig, space: Space, records: SweepRecords, flags: argparse.Namespace
) -> SweepConfig:
    """With what the flags say otherwise."""
    changes = {n: v for n in FLAGS if FLAGS[n].resumable and (v := getattr(flags, n)) is not None}
    check_backends(changes.get("report_to", ()))
    if turns := changes.pop("train_turns", None):
        config = config if turns == config.train_turns else lengthen(config, space, records, turns)
    return replace(config, **changes)


def lengthen(config: SweepConfig, space: Space, records: SweepRecords, turns: int) -> SweepConfig:
    """The sweep with a longer training: the old end becomes a rung."""
    if turns < config.train_turns:
        raise ConfigError(
            f"--train-turns of a resumed sweep may only grow from {config.train_turns}, not to "
            f"{turns}: start a new sweep (--name)"
        )
    schedules = {t.config.get("schedule", "constant") for t in records.searched}
    if "train_turns" in space.searched or schedules - {"constant", "wsd"}:
        raise ConfigError(
            "--train-turns can extend only trials with a constant or wsd schedule and one common "
            "length: start a new sweep (--name)"
        )
    return replace(
        config,
        train_turns=turns,
        rungs_turns=(*config.rungs_turns, config.train_turns),
        eval_dialogues=(*config.eval_dialogues, config.eval_dialogues[-1]),
        base={**config.base, "train_turns": turns},
    )
