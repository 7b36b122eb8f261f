"""The flags of a sweep, and how their texts are read."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainable.storage.remote import bring_headers, is_remote, locate
from trainable.system.environment import add_trust
from trainable.trial import ConfigError
from tune.search.config import BUDGETS

DESCRIPTION = "Starts or resumes a sweep: python -m tune.run --space lora_modules"
SETTINGS = {  # flags of a new sweep that are fields of SweepConfig
    "name": (str, "folder of the sweep under --storage; default: the space's name, numbered"),
    "trials": (int, "how many trials to propose"),
    "train_turns": (int, "the longest a trial trains, in system turns"),
    "asha": (str, "stop (as Ray's), promote (the paper's) or off"),
    "eta": (float, "the best 1/eta of a rung go on"),
    "seed": (int, "of the proposals, and of every trial"),
    "seeds": (int, "trials of every point, pruned and ranked together by their mean"),
    "concurrent": (int, "trials at a time; 0: as many as there is room for"),
    "pack": (str, "trials on one frozen base model: auto, or a number; 1: each alone"),
    "max_failures": (int, "restarts of one trial after a fault of the machinery"),
    "max_failed_trials": (int, "more end the sweep; 0: a quarter of the trials, but at least 5"),
    "max_gpu_hours": (float, "the sweep pauses when they are spent; 0: no limit"),
    "max_hours": (float, "likewise, hours at work"),
    "stop_if_no_improvement": (
        int,
        "likewise, points that end or pause without one higher than all before",
    ),
}
EMBEDDED = ("tiny", "cambridge", "multiwoz")  # names that mean no folder
PLACES = ("adapter", "base_model", "corpus")  # fields of TrialConfig that may name a folder
# what --resume can change
RESUMABLE = (
    *("trials", "train_turns", "concurrent", "pack", "confirm", "max_failures"),
    *(*BUDGETS, "report_to"),
)
# may be taken up by --resume: what is recorded of the latter tells only that it was needed
WAYS = ("deterministic", "trust_remote_code")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tune.run", description=DESCRIPTION, allow_abbrev=False
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
    parser.add_argument(
        "--rung-metric",
        default="auto",
        help="what a rung decides on: loss (nats a word on all validation dialogues, without "
        "generating), combined, or auto: the loss wherever trials compare by it",
    )
    parser.add_argument(
        "--confirm",
        type=int,
        metavar="K",
        help="end the race by repeating the best K points with fresh seeds, on all validation "
        "dialogues, one of every choice first; default: with the embedded model the best of every "
        "choice, else as many as take at most a quarter of the sweep's turns; 0: never",
    )
    parser.add_argument(
        "--calibrate",
        type=float,
        nargs="?",
        const=1.0,
        metavar="BIAS",
        help="at the end also score every trial under this placeholder_bias (1 where none is "
        "given), beside the headline",
    )
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
        metavar="A,B",
        help="also tell tensorboard, mlflow, wandb (offline) or trackio",
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="torch's deterministic kernels where there are any: slower, and the same every time",
    )
    add_trust(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="say what the sweep would do and cost, and end"
    )
    add_storage(parser)
    parser.add_argument(
        "--no-baseline", dest="baseline", action="store_false", help="leave out the untuned model"
    )
    return parser


def add_storage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--storage",
        type=parse_storage,
        default="runs",
        help="the folder that holds the sweeps, or s3://BUCKET/PREFIX",
    )


def parse_storage(text: str) -> str:
    try:
        return locate(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def find_folder(name: str, storage: Path, flag: str = "--resume") -> Path:
    """The sweep's folder: under the storage, or a path. Raises ConfigError if there is none."""
    for folder in (storage / name, Path(name)):
        if (folder / "sweep.json").is_file():
            return folder.absolute()
    there = ", ".join(sorted(p.parent.name for p in storage.glob("*/sweep.json")))
    raise ConfigError(
        f"{flag} needs a sweep's folder (one with sweep.json), and {storage / name} is none: "
        + (f"there are {there}" if there else f"there is no sweep under {storage}")
    )


def open_folder(flags: argparse.Namespace, command: str) -> Path:
    """The folder of the sweep that a command names; of a storage that is no folder, its local copy.
    Raises ConfigError."""
    if is_remote(flags.name):
        storage, _, flags.name = flags.name.rstrip("/").rpartition("/")
        flags.storage = locate(storage)
    bring_headers(Path(flags.storage))
    return find_folder(flags.name, Path(flags.storage), command)


def pick_name(storage: Path, space: str) -> str:
    """The first free name of the form SPACE-NN."""
    return next(n for i in range(1, 10**6) if not (storage / (n := f"{space}-{i:02d}")).exists())


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
            values[name] = find_place(text) if name in PLACES else text
    return values


def find_place(text: str) -> str:
    """A folder's whole path, for workers that are elsewhere and a later --resume; else the text."""
    folder = Path(text).expanduser()
    return str(folder.absolute()) if folder.is_dir() and text not in EMBEDDED else text


def parse_backends(text: str) -> tuple[str, ...]:
    """`tensorboard,mlflow`, checked. Raises ConfigError."""
    from tune.folder.report_to import check_backends

    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    check_backends(names)
    return names


def parse_counts(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes whole numbers, as 100,300, not {text!r}") from None
