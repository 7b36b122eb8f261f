"""The flags of a sweep, and how their texts are read."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
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
from trainable.command.outcome import Outcome
from trainable.command.parser import Parser
from trainable.trial import ConfigError
from tune.folder.resume_command import spell_resume
from tune.search.config import FLAGS, KINDS, MACHINE, SWEEP, SweepConfig
from tune.search.flag import Flag
from tune.search.profiles import BASES, SCALES

if TYPE_CHECKING:
    from tune.folder.requests import Answer

EXIT_REFUSED = 1
DESCRIPTION = "Starts or resumes a sweep: python -m tune.run --space lora_modules"
EMBEDDED = ("tiny", "cambridge", "multiwoz")  # names that are not folders
PLACES = ("adapter", "base_model", "corpus")  # fields of TrialConfig that may name a folder
WHAT = "what is searched"


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
                "Python runs only where the command itself names it, not its --config: look at "
                f"what is run, and add {flag} {value}".rstrip()
            )


def build_parser() -> Parser:
    parser = RunParser("tune.run", DESCRIPTION)
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
        "--space", help="one that ships with the package, or a .py file's path"
    )
    completing(space, complete_spaces)
    resume = group.add_argument("--resume", metavar="NAME", help="go on with a sweep")
    completing(resume, complete_names)
    group.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the flags from a YAML file, as every sweep leaves one (sweep.yaml); flags given "
        "beside it come first",
    )
    group.add_argument(
        "--profile",
        choices=("auto", *BASES),
        default="auto",
        help="tiny: the embedded model and corpus; colab: SmolLM2-135M on MultiWOZ, for one card "
        "of 16 GB; lab: LLaMA-7B on MultiWOZ; auto: tiny or lab, by the GPU",
    )
    add_set(group, "fix a field of a trial, searched no more (qlora-search fields)")
    earlier = group.add_argument(
        "--warm-start",
        type=parse_names,
        nargs="+",
        metavar="NAME",
        help="try the best points of these earlier sweeps first, of any model and corpus",
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
    >>> tell_default("trials", FLAGS["trials"])
    '10 tiny, 16 colab, 48 lab'
    """
    if flag.auto:
        return flag.auto
    scaled = {p: scale[name] for p, scale in SCALES.items() if name in scale}
    if not scaled or len({*map(str, scaled.values())}) == 1:
        return str(SweepConfig.__dataclass_fields__[name].default)
    return ", ".join(f"{show(value)} {profile}" for profile, value in scaled.items())


def show(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def complete_spaces(prefix: str, **_: Any) -> Sequence[str]:
    from search_spaces.find import list_spaces

    return list_spaces()


def tell(answer: Answer) -> Outcome:
    """Says what the driver made of a request."""
    print(answer.text, file=sys.stdout if answer.done else sys.stderr)
    facts = asdict(answer)
    return Outcome(facts=facts, code=0 if answer.done else EXIT_REFUSED)


def tell_waiting(folder: Path, what: str) -> Outcome:
    """Says that a request waits for the next driver."""
    text = f"{folder.name} is not running: {what} is made by {spell_resume(folder)}"
    print(text)
    return Outcome(facts={"done": False, "text": text, "trial": None})


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
            values[name] = text
        if name in PLACES and isinstance(values[name], str):
            values[name] = find_place(values[name])
    return values


def find_place(text: str) -> str:
    """A folder's or file's whole path, for workers that are elsewhere and a later --resume; else
    the text."""
    place = Path(text).expanduser()
    return str(place.absolute()) if place.exists() and text not in EMBEDDED else text


def parse_names(text: str) -> tuple[str, ...]:
    """`tensorboard,mlflow`"""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def parse_counts(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes whole numbers, as 100,300, not {text!r}") from None


PARSERS: dict[Any, Any] = {  # where a type does not read its text itself
    tuple[int, ...]: parse_counts,
    tuple[str, ...]: parse_names,
    float | None: float,
}
