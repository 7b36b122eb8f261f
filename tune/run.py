"""Starts or resumes a sweep: python -m tune.run --space lora_modules"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.environment import set_environment
from trainable.trial import ConfigError

if TYPE_CHECKING:
    from search_spaces.space import Space
    from tune.config import SweepConfig

EXIT_BAD_INPUT = 2
SETTINGS = {  # flags of a new sweep that are fields of SweepConfig
    "name": (str, "folder of the sweep under --storage; default: the space's name, numbered"),
    "trials": (int, "how many trials to propose"),
    "train_turns": (int, "the longest a trial trains, in system turns"),
    "asha": (str, "stop (as Ray's), promote (the paper's) or off"),
    "eta": (float, "the best 1/eta of a rung go on"),
    "seed": (int, "of the proposals, and of every trial"),
    "concurrent": (int, "trials at a time; 0: as many as there is room for"),
    "pack": (str, "trials on one frozen base model: auto, or a number; 1: each alone"),
    "max_failures": (int, "restarts of one trial after a fault of the machinery"),
}
RESUMABLE = ("trials", "train_turns", "concurrent", "pack", "max_failures")


def main(arguments: Sequence[str] | None = None) -> int:
    flags = build_parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    set_environment(deterministic=flags.deterministic, trust_remote_code=flags.trust_remote_code)
    try:
        return resume(flags) if flags.resume else start(flags)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT


def start(flags: argparse.Namespace) -> int:
    from search_spaces.space import find_space
    from tune.checks import check_materials, check_space, check_train_turns, make_folder
    from tune.config import compose, pick_profile
    from tune.sweep import start_sweep
    from tune.versions import check_not_shadowed

    check_not_shadowed()
    if not flags.space:
        raise ConfigError("a sweep needs --space NAME, or --resume NAME")
    space = find_space(flags.space).fix(parse_settings(flags.set))
    profile, why = pick_profile() if flags.profile == "auto" else (flags.profile, "--profile")
    given = {name: getattr(flags, name) for name in SETTINGS}
    given |= {"rungs_turns": flags.rungs, "eval_dialogues": flags.eval_dialogues}
    given["report_to"] = parse_backends(flags.report_to)
    # a space that trains nothing (train_turns=0) leaves the sweep's own length as it is
    given["train_turns"] = space.fixed.get("train_turns") or flags.train_turns
    given["name"] = flags.name or pick_name(Path(flags.storage), space.name)
    extra = {"space": flags.space, "storage": flags.storage, "baseline": flags.baseline}
    config = compose(profile, given | extra)
    space = space.fit_lengths(config.train_turns)
    configs = check_space(space, config.base)
    check_train_turns(configs, config.train_turns)
    announce(config, space, why)
    check_materials(configs)
    make_folder(config.folder)
    return start_sweep(config, space)


def resume(flags: argparse.Namespace) -> int:
    from analysis.records import read_sweep
    from search_spaces.space import Space, find_space
    from tune.checks import check_disk, check_materials, check_space
    from tune.config import SweepConfig
    from tune.rebuild import check_widened
    from tune.sweep import lengthen, resume_sweep
    from tune.versions import check_not_shadowed

    check_not_shadowed()
    refuse_changes(flags)
    records = read_sweep(find_folder(flags.resume, Path(flags.storage)))
    config = SweepConfig.from_dict({**records.config, "storage": str(records.folder.parent)})
    config = replace(config, name=records.folder.name)
    space = Space.from_dict(records.space)
    if flags.space:
        fixed = {n: v for n, v in space.fixed.items() if n not in find_space(flags.space).searched}
        space = find_space(flags.space).fix(fixed).fit_lengths(config.train_turns)
        check_widened(space, records)
    changes = {n: v for n in RESUMABLE if (v := getattr(flags, n)) is not None}
    if turns := changes.pop("train_turns", None):
        config = config if turns == config.train_turns else lengthen(config, space, records, turns)
    config = replace(config, **changes)
    check_materials(check_space(space, config.base))
    check_disk(config.folder)
    announce(config, space, f"resumed from {records.folder}")
    return resume_sweep(config, space)


def refuse_changes(flags: argparse.Namespace) -> None:
    """What a resumed sweep keeps."""
    kept = [name for name in SETTINGS if name not in RESUMABLE]
    kept += ["rungs", "eval_dialogues", "set", "report_to"]
    for name in kept:
        if getattr(flags, name):
            flag = "--" + name.replace("_", "-")
            allowed = ", ".join("--" + n.replace("_", "-") for n in (*RESUMABLE, "space"))
            raise ConfigError(f"{flag} cannot change with --resume: only {allowed} can")


def find_folder(name: str, storage: Path) -> Path:
    """The sweep's folder: under the storage, or a path. Raises ConfigError if there is none."""
    for folder in (storage / name, Path(name)):
        if (folder / "sweep.json").is_file():
            return folder.absolute()
    there = ", ".join(sorted(p.parent.name for p in storage.glob("*/sweep.json")))
    raise ConfigError(
        f"--resume needs a sweep's folder (one with sweep.json), and {storage / name} is none: "
        + (f"there are {there}" if there else f"there is no sweep under {storage}")
    )


def pick_name(storage: Path, space: str) -> str:
    """The first free name of the form SPACE-NN."""
    return next(n for i in range(1, 10**6) if not (storage / (n := f"{space}-{i:02d}")).exists())


def announce(config: SweepConfig, space: Space, why: str) -> None:
    base = {**config.base, **space.fixed}
    print(f"sweep {config.name}: {space.question}")
    print(
        f"profile {config.profile} ({why}): {base['base_model']} on {base['corpus']}; "
        f"{config.trials} trials of up to {config.train_turns} turns, seed {config.seed}"
    )
    rungs = ", ".join(map(str, config.rungs_turns)) or "none"
    print(f"searched: {', '.join(space.searched)}; rungs at {rungs} turns (asha {config.asha})")
    sys.stdout.flush()


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """FIELD=VALUE pairs; a value is JSON where it reads as such (8, 1e-4, true), else text.

    >>> parse_settings(["lora_rank=8", "response=lexicalised"])
    {'lora_rank': 8, 'response': 'lexicalised'}
    """
    values: dict[str, Any] = {}
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not separator or not name:
            raise ConfigError(f"--set takes FIELD=VALUE, not {setting!r}")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values


def parse_backends(text: str) -> tuple[str, ...]:
    """`tensorboard,mlflow`, checked. Raises ConfigError."""
    from tune.report_to import check_backends

    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    check_backends(names)
    return names


def parse_counts(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes whole numbers, as 100,300, not {text!r}") from None


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tune.run", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--space", help="a name under search_spaces/, or the path of a .py file")
    parser.add_argument("--resume", metavar="NAME", help="go on with a sweep, after any end")
    parser.add_argument(
        "--profile",
        choices=("auto", "tiny", "lab"),
        default="auto",
        help="tiny: the embedded model and corpus; lab: LLaMA-7B on MultiWOZ; auto: by the GPU",
    )
    for name, (kind, text) in SETTINGS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=text)
    parser.add_argument("--rungs", type=parse_counts, metavar="A,B", help="turns of the rungs")
    parser.add_argument(
        "--eval-dialogues",
        type=parse_counts,
        metavar="A,B,C",
        help="dialogues validated on at each rung and at the end",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="fix a field of TrialConfig (searched no more)",
    )
    parser.add_argument(
        "--report-to",
        default="",
        metavar="A,B",
        help="also tell tensorboard, mlflow, wandb (offline) or trackio",
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="torch's deterministic kernels where there are any: slower, and the same every time",
    )
    parser.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="run the code that a base model's repository brings along",
    )
    parser.add_argument("--storage", default="runs", help="the folder that holds the sweeps")
    parser.add_argument(
        "--no-baseline", dest="baseline", action="store_false", help="leave out the untuned model"
    )
    return parser


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
