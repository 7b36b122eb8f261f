"""Starts or resumes a sweep: python -m tune.run --space lora_modules"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainable.system.environment import set_environment, speak_utf8
from trainable.system.inside import check_links
from trainable.trial import ConfigError
from tune.driver.signals import Interrupted, heed, say
from tune.plan.flags import (
    RESUMABLE,
    SETTINGS,
    WAYS,
    build_parser,
    find_folder,
    parse_backends,
    parse_settings,
    pick_name,
)

if TYPE_CHECKING:
    from search_spaces.space import Space
    from tune.search.config import SweepConfig

EXIT_BAD_INPUT = 2
NOTHING_STARTED = "no trial was at work; the same command goes on"


def main(arguments: Sequence[str] | None = None) -> int:
    flags = build_parser().parse_args(arguments)
    try:
        with heed(NOTHING_STARTED):
            bring_storage(flags)
            return resume(flags) if flags.resume else start(flags)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except Interrupted as interrupted:
        say(interrupted, NOTHING_STARTED)
        return interrupted.code


def bring_storage(flags: argparse.Namespace) -> None:
    """Where the sweeps are not on a disk, brings what counts there. Raises ConfigError."""
    from trainable.storage.remote import bring_events, bring_headers, is_remote, locate

    if flags.resume and is_remote(flags.resume):
        storage, _, flags.resume = flags.resume.rstrip("/").rpartition("/")
        flags.storage = locate(storage)
    bring_headers(Path(flags.storage))
    if flags.resume:
        bring_events(Path(flags.storage) / flags.resume)  # the rest once nobody else drives it


def start(flags: argparse.Namespace) -> int:
    from search_spaces.space import find_space
    from trainable.storage.adapter import inherit
    from tune.driver.sweep import start_sweep
    from tune.folder.versions import check_not_shadowed
    from tune.plan.checks import (
        check_materials,
        check_seeds,
        check_space,
        check_train_turns,
        fetch_bases,
        make_folder,
    )
    from tune.plan.defaults import check_calibration, choose_confirmed, choose_rung_metric
    from tune.plan.dry_run import describe_plan, summarise
    from tune.plan.estimate import estimate
    from tune.search.config import compose, pick_profile

    check_not_shadowed()
    if not flags.space:
        raise ConfigError("a sweep needs --space NAME, or --resume NAME")
    space = find_space(flags.space).fix(parse_settings(flags.set))
    brought = inherit(space.fixed.get("adapter"))
    space = space.adopt(brought)
    profile, why = pick_profile() if flags.profile == "auto" else (flags.profile, "--profile")
    given = {name: getattr(flags, name) for name in SETTINGS}
    given |= {"rungs_turns": flags.rungs, "eval_dialogues": flags.eval_dialogues}
    given["report_to"] = parse_backends(flags.report_to or "")
    given |= {name: getattr(flags, name) for name in WAYS}
    # a space that trains nothing (train_turns=0) leaves the sweep's own length as it is
    given["train_turns"] = space.fixed.get("train_turns") or flags.train_turns
    given["name"] = flags.name or pick_name(Path(flags.storage), space.name)
    extra = {"space": flags.space, "storage": flags.storage, "baseline": flags.baseline}
    config = compose(profile, given | extra, brought)
    space = space.on(config.base)
    set_environment(config.deterministic, config.trust_remote_code)
    space = space.fit_lengths(config.train_turns)
    configs = check_space(space, config.base)
    check_train_turns(configs, config.train_turns)
    check_seeds(space, config.seeds)
    check_calibration(flags.calibrate, configs)
    config = replace(
        config,
        rung_metric=choose_rung_metric(flags.rung_metric, configs, config.asha),
        confirm=choose_confirmed(flags.confirm, config, space),
        calibrate=flags.calibrate,
    )
    announce(config, space, why)
    check_materials(configs)
    cost = estimate(config, space)
    if flags.dry_run:
        print(describe_plan(config, space, cost))
        return 0
    print(f"expected: {summarise(cost)}", flush=True)
    fetch_bases(configs)
    make_folder(config.folder, cost.peak_bytes)
    return start_sweep(config, space)


def resume(flags: argparse.Namespace) -> int:
    from analysis.records import read_sweep
    from search_spaces.space import find_space
    from tune.driver.sweep import lengthen, resume_sweep
    from tune.folder.disk import measure_bytes
    from tune.folder.versions import check_not_shadowed
    from tune.plan.checks import RESUMED, check_disk, check_materials, check_space
    from tune.plan.defaults import choose_rung_metric
    from tune.plan.estimate import estimate
    from tune.plan.resumption import check_files, check_same_bases, check_trials
    from tune.search.rebuild import check_configs, check_widened, read_settings

    check_not_shadowed()
    refuse_changes(flags)
    folder = find_folder(flags.resume, Path(flags.storage))
    check_links(folder)
    records = read_sweep(folder)
    check_files(records.folder)
    check_trials(records, flags.trials)
    config, space = read_settings(records)
    check_configs(records)
    for warning in records.warnings:
        print(f"{config.name}: {warning}", file=sys.stderr)
    if flags.space:
        fixed = {n: v for n, v in space.fixed.items() if n not in find_space(flags.space).searched}
        space = find_space(flags.space).fix(fixed).on(config.base).fit_lengths(config.train_turns)
        check_widened(space, records)
    changes = {n: v for n in RESUMABLE if (v := getattr(flags, n)) is not None}
    changes |= {name: True for name in WAYS if getattr(flags, name)}
    if "report_to" in changes:
        changes["report_to"] = parse_backends(changes["report_to"])
    if turns := changes.pop("train_turns", None):
        config = config if turns == config.train_turns else lengthen(config, space, records, turns)
    config = replace(config, **changes)
    set_environment(config.deterministic, flags.trust_remote_code)
    if config.trust_remote_code and not flags.trust_remote_code:
        print(f"{config.name} ran with --trust-remote-code: that counts for one command, not here")
    configs = check_space(space, config.base)
    if config.rung_metric == "loss":  # its space may have widened
        choose_rung_metric(config.rung_metric, configs, config.asha)
    check_materials(configs)
    check_same_bases(records, configs)
    to_come = estimate(config, space).peak_bytes - measure_bytes(config.folder)
    check_disk(config.folder, to_come, RESUMED)
    announce(config, space, f"resumed from {records.folder}")
    return resume_sweep(config, space)


def refuse_changes(flags: argparse.Namespace) -> None:
    """What a resumed sweep keeps."""
    kept = [name for name in SETTINGS if name not in RESUMABLE]
    kept += ["profile", "rungs", "rung_metric", "calibrate", "eval_dialogues", "set", "baseline"]
    defaults = build_parser().parse_args([])
    if flags.dry_run:
        raise ConfigError(
            f"--dry-run says what a new sweep would do: tune.status {flags.resume} says how this "
            "one stands"
        )
    for name in kept:
        if getattr(flags, name) != getattr(defaults, name):
            flag = "--no-baseline" if name == "baseline" else "--" + name.replace("_", "-")
            allowed = ", ".join("--" + n.replace("_", "-") for n in (*RESUMABLE, *WAYS, "space"))
            raise ConfigError(f"{flag} cannot change with --resume: only {allowed} can")


def announce(config: SweepConfig, space: Space, why: str) -> None:
    from tune.search.config import count_fresh_seeds

    base = {**config.base, **space.fixed}
    print(f"sweep {config.name}: {space.question}")
    last = config.seed + config.seeds - 1
    seeds = f"seed {config.seed}" if config.seeds == 1 else f"seeds {config.seed} to {last} a point"
    print(
        f"profile {config.profile} ({why}): {base['base_model']} on {base['corpus']}; "
        f"{config.trials} trials of up to {config.train_turns} turns, {seeds}"
    )
    if adapter := base.get("adapter"):
        print(f"adapter {adapter}: model, text and decoding are its trial's where nothing is set")
    rungs = ", ".join(map(str, config.rungs_turns)) or "none"
    by = "the loss" if config.rung_metric == "loss" else "Combined"
    print(
        f"searched: {', '.join(space.searched)}; rungs at {rungs} turns decide by {by} "
        f"(asha {config.asha})"
    )
    if config.confirm:
        n_seeds = count_fresh_seeds(config.confirm)
        print(
            f"then the best {config.confirm} points once more, one of every choice first, with "
            f"{n_seeds} fresh seeds each, on all validation dialogues (--confirm)"
        )
    sys.stdout.flush()


if __name__ == "__main__":
    speak_utf8()
    sys.exit(main())
