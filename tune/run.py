"""Starts or resumes a sweep: python -m tune.run --space lora_modules"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from trainable.command.outcome import Outcome, make_main, start_command
from trainable.trial import ConfigError
from tune.driver.signals import Interrupted, pause_on_signals, say
from tune.plan.flags import build_parser

if TYPE_CHECKING:
    from tune.folder.recorder import Listener
    from tune.search.config import SweepConfig

NOTHING_STARTED = "no trial was at work; the same command goes on"


def run_until_told(flags: argparse.Namespace) -> Outcome:
    """`run`, which a signal ends in one line even before there is anything to go on with."""
    try:
        with pause_on_signals(NOTHING_STARTED):
            return run(flags)
    except Interrupted as interrupted:
        say(interrupted, NOTHING_STARTED)
        return Outcome(code=interrupted.code)


def run(flags: argparse.Namespace, listeners: Iterable[Listener] = ()) -> Outcome:
    """Starts or resumes the sweep; `listeners` are told of every event."""
    fetch_storage(flags)
    return (resume if flags.resume else start)(flags, listeners)


def fetch_storage(flags: argparse.Namespace) -> None:
    """Where the sweeps are not on a disk, brings what counts there. Raises ConfigError."""
    from trainable.storage.remote import fetch_events, fetch_headers, is_remote, locate

    if flags.resume and is_remote(flags.resume):
        storage, _, flags.resume = flags.resume.rstrip("/").rpartition("/")
        flags.storage = locate(storage)
    fetch_headers(Path(flags.storage))
    if flags.resume:
        fetch_events(Path(flags.storage) / flags.resume)  # the rest once nobody else drives it


def start(flags: argparse.Namespace, listeners: Iterable[Listener]) -> Outcome:
    from tune.driver.sweep import run_sweep
    from tune.plan.checks import check_materials, fetch_bases, make_folder
    from tune.plan.disk import tell_disk
    from tune.plan.dry_run import describe_plan, summarise
    from tune.plan.estimate import estimate
    from tune.plan.new import announce, plan_sweep
    from tune.plan.task import describe_corpora, rehearse_objective

    plan = plan_sweep(flags)
    config, space = plan.config, plan.space
    announce(plan)
    sys.stdout.flush()
    check_materials(plan.configs)
    for line in describe_corpora(plan.configs):
        print(line)
    rehearse_objective(plan.objective, plan.configs[0])
    cost = estimate(config, space)
    if flags.dry_run:
        print(describe_plan(config, space, cost))
        facts = {"config": config.to_dict(), "space": space.to_dict(), "cost": asdict(cost)}
        return Outcome(facts=facts)
    print(f"expected: {summarise(cost)}", flush=True)
    fetch_bases(plan.configs)
    make_folder(config.folder, cost.disk.peak)
    tell_disk(config.folder, cost.disk)
    return conclude(config, run_sweep(plan, listeners))


def resume(flags: argparse.Namespace, listeners: Iterable[Listener]) -> Outcome:
    from tune.driver.sweep import run_sweep
    from tune.plan.new import announce
    from tune.plan.resumed import open_resumed

    refuse_changes(flags)
    plan = open_resumed(flags)
    announce(plan)
    sys.stdout.flush()
    return conclude(plan.config, run_sweep(plan, listeners))


def conclude(config: SweepConfig, code: int) -> Outcome:
    from tune.status import summarise

    has_begun = (config.folder / "sweep.json").is_file()
    return Outcome(facts=summarise(config.folder) if has_begun else {}, code=code)


def refuse_changes(flags: argparse.Namespace) -> None:
    """What a resumed sweep keeps."""
    from tune.search.config import FLAGS

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
    from tune.search.config import FLAGS

    return FLAGS[name].spell(name) if name in FLAGS else "--" + name.replace("_", "-")


main = make_main(build_parser, run_until_told)

if __name__ == "__main__":
    start_command(main)
