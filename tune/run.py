"""Starts or resumes a sweep: python -m tune.run --space lora_modules"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.command.flags import (
    add_set,
    add_storage,
    add_trust,
    complete_names,
    completing,
)
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.trial import ConfigError
from tune.driver.signals import Interrupted, pause_on_signals, say
from tune.plan.flags import PARSERS, parse_names
from tune.search.config import FLAGS, KINDS, MACHINE, SWEEP, SweepConfig
from tune.search.flag import Flag
from tune.search.profiles import BASES, SCALES

if TYPE_CHECKING:
    from tune.folder.recorder import Listener

NOTHING_STARTED = "no trial was at work; the same command goes on"
WHAT = "what is searched"


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
    from tune.plan.corpora import describe_corpora
    from tune.plan.disk import tell_disk
    from tune.plan.dry_run import describe_plan, summarise
    from tune.plan.estimate import estimate
    from tune.plan.new import announce, plan_sweep
    from tune.plan.task import rehearse_objective

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

    plan = open_resumed(flags)
    announce(plan)
    sys.stdout.flush()
    return conclude(plan.config, run_sweep(plan, listeners))


def conclude(config: SweepConfig, code: int) -> Outcome:
    from tune.status import summarise

    has_begun = (config.folder / "sweep.json").is_file()
    return Outcome(facts=summarise(config.folder) if has_begun else {}, code=code)


class RunParser(Parser):
    """Lays the flags of --config FILE beneath those that are given; `flags.mappings` has what a
    file says of the space and the base. Raises ConfigError."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        flags = super().parse_args(given, namespace)
        flags.mappings = {}
        if flags.config is not None:
            from tune.plan.sweep_file import read_flags

            if flags.resume:
                raise ConfigError("--config starts a new sweep: leave it out with --resume")
            words, mappings = read_flags(flags.config)
            flags = super().parse_args([*words, *given], namespace)
            flags.mappings = {} if flags.space else mappings
            check_trust(flags, given)
        return flags


def check_trust(flags: argparse.Namespace, given: Sequence[str]) -> None:
    """Raises ConfigError where a file of flags asks for code to be run: that is for the command
    itself to say."""
    own = {word.partition("=")[0] for word in given}
    asked = {
        "--objective": flags.objective if (flags.objective or "").startswith("python:") else None,
        "--space": flags.space if (flags.space or "").endswith(".py") else None,
        "--trust-remote-code": "" if flags.trust_remote_code else None,
    }
    for flag, value in asked.items():
        if value is not None and flag not in own:
            raise ConfigError(
                "Python runs only where the command line itself names it, and here --config does: "
                f"look at what is run, and add {flag} {value}".rstrip()
            )


def build_parser() -> Parser:
    parser = RunParser("tune.run", __doc__)
    groups = {WHAT: parser.add_argument_group(WHAT)}
    add_what(groups[WHAT])
    for name, flag in FLAGS.items():
        if flag.group not in groups:
            groups[flag.group] = parser.add_argument_group(flag.group)
        add_flag(groups[flag.group], name, flag)
    add_storage(groups[SWEEP])
    add_trust(groups[MACHINE])
    return parser


def add_what(group: argparse._ActionsContainer) -> None:
    space = group.add_argument(
        "--space",
        metavar="NAME",
        help="what to search: a space that ships with the package, or the path of a .py file",
    )
    completing(space, complete_spaces)
    resume = group.add_argument("--resume", metavar="NAME", help="go on with this sweep")
    completing(resume, complete_names)
    group.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="read the flags from a YAML file, such as an earlier sweep's sweep.yaml; flags on the "
        "command line override it",
    )
    group.add_argument(
        "--profile",
        choices=("auto", *BASES),
        default="auto",
        help="defaults of everything: tiny (the embedded model and corpus), colab (SmolLM2-135M on "
        "MultiWOZ, for one GPU of 16 GB), lab (LLaMA-7B on MultiWOZ), or auto (lab where there is "
        "a GPU, else tiny)",
    )
    add_set(
        group,
        "fix a field of every trial; it is not searched then (qlora-search fields lists them)",
    )
    earlier = group.add_argument(
        "--warm-start",
        type=parse_names,
        nargs="+",
        metavar="NAME",
        help="try the best points of these earlier sweeps first, whatever their models and corpora",
    )
    completing(earlier, complete_names)
    group.add_argument(
        "--dry-run", action="store_true", help="say what the sweep would do and cost, and end"
    )


def add_flag(group: argparse._ActionsContainer, name: str, flag: Flag) -> None:
    """The flag of SweepConfig's field `name`; None where it is not given."""
    kind, text = KINDS[name], flag.help
    if kind is bool:
        is_on = bool(SweepConfig.__dataclass_fields__[name].default)
        spelt = flag.spell(f"no_{name}" if is_on else name)
        group.add_argument(spelt, dest=name, action="store_const", const=not is_on, help=text)
        return
    options: dict[str, Any] = {"nargs": "?", "const": flag.bare} if flag.bare is not None else {}
    if flag.choices:  # held by SweepConfig
        options["metavar"] = "{" + ",".join(flag.choices) + "}"
    group.add_argument(
        flag.spell(name),
        dest=name,
        type=PARSERS.get(kind, kind),
        help=f"{text} (default: {tell_default(name, flag)})",
        **{"metavar": flag.metavar or "N", **options},
    )


def tell_default(name: str, flag: Flag) -> str:
    """
    >>> tell_default("trials", FLAGS["trials"]), tell_default("asha", FLAGS["asha"])
    ('10 tiny, 16 colab, 48 lab', 'promote')
    """
    if flag.auto:
        return flag.auto
    scaled = {p: scale[name] for p, scale in SCALES.items() if name in scale}
    if not scaled:
        return str(SweepConfig.__dataclass_fields__[name].default)
    if len({*map(str, scaled.values())}) == 1:
        return show(scaled["tiny"])
    return ", ".join(f"{show(value)} {profile}" for profile, value in scaled.items())


def show(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def complete_spaces(prefix: str, **_: Any) -> Sequence[str]:
    from search_spaces.find import list_spaces

    return list_spaces()


main = make_main(build_parser, run_until_told)

if __name__ == "__main__":
    start_command(main)
