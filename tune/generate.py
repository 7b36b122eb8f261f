"""The replies of an adapter or a model, from a folder or the Hub, in mwzeval's format:
python -m tune.generate --adapter FOLDER --out replies.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.command.flags import add_trust
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.result import ValidationRequest
from trainable.system.hub import settle_network
from trainable.system.whole import write_json
from trainable.trial import CONDITIONS, ConfigError, TrialConfig
from tune.plan.system_flags import add_corpus, add_generation, add_system
from tune.terminal.quiet import quieten

if TYPE_CHECKING:
    from trainable.corpus.corpus import Corpus
    from trainable.evaluation.predictions import Responses

# fields of a trial that say how it was trained: they decide nothing here
TRAINING = frozenset(
    name for decider, _, names in CONDITIONS if decider in ("method", "schedule") for name in names
)
MODEL_FILES = ("*.json", "*.jinja", "*.safetensors", "*.model", "*.txt")
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "trial.json")


@dataclass(frozen=True, kw_only=True)
class System:
    """What is to be evaluated."""

    config: TrialConfig
    adapter_sha256: str | None = None  # of an exported trial's adapter


@dataclass(frozen=True, kw_only=True)
class Replies:
    """What a system said, and how it is to be scored."""

    responses: Responses
    corpus: Corpus
    response: str = "delexicalised"  # or lexicalised
    earlier: str = "corpus"  # or own: see TrialConfig.earlier_replies
    is_partial: bool = False  # not to all dialogues of the split
    adapter_sha256: str | None = None


def write_replies(args: argparse.Namespace) -> Outcome:
    if args.out is not None and not args.out.absolute().parent.is_dir():
        raise ConfigError(f"--out must lie in a folder that exists, and {args.out.parent} does not")
    responses = make_replies(*open_system(args), args).responses
    if args.out is None:
        print(json.dumps(responses, indent=1))
    else:
        write_json(args.out, responses)
        print(f"replies to {len(responses)} dialogues: {args.out}")
    return Outcome(facts={"out": args.out, "responses": responses})


def build_parser() -> Parser:
    parser = Parser("tune.generate", __doc__)
    add_system(parser.add_mutually_exclusive_group(required=True))
    add_corpus(parser)
    add_generation(parser)
    add_trust(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the replies here, not to stdout"
    )
    parser.set_defaults(cross_check=False, endpoint=None)
    return parser


def open_system(args: argparse.Namespace) -> tuple[System, Corpus]:
    """What the flags name, before any weight is loaded. Raises ConfigError."""
    quieten()
    from trainable.corpus.load import load_corpus
    from tune.plan.flags import parse_settings

    settings = parse_settings(args.set) | ({"corpus": args.corpus} if args.corpus else {})
    if args.adapter:
        system = open_adapter(args.adapter, args.base_model, settings, args.device)
    elif args.base_model:
        raise ConfigError("--base-model has no meaning without --adapter: leave it out")
    elif args.model:
        system = open_model(args.model, settings, args.device)
    else:  # a server alone, whose model nobody knows here
        told = {"corpus": "multiwoz", "layout": "chat", "quantisation": "fp32", **settings}
        system = System(config=TrialConfig.from_dict({**told, "method": "none"}))
    if args.cross_check and system.config.response == "lexicalised":
        raise ConfigError(
            "--cross-check has no meaning with response=lexicalised: mwzeval's references are "
            "delexicalised"
        )
    return system, load_corpus(system.config.corpus)


def make_replies(system: System, corpus: Corpus, args: argparse.Namespace) -> Replies:
    """What our own engine says, or a server in its place. Raises ConfigError."""
    n_dialogues, there = count_dialogues(corpus, args)
    if args.endpoint:
        from tune.endpoint.asking import ask_endpoint

        responses: Responses = ask_endpoint(system.config, corpus, n_dialogues, args)
    else:
        responses = generate(system, args.split, n_dialogues, args.device)
    return Replies(
        responses=responses,
        corpus=corpus,
        response=system.config.response,
        earlier=system.config.earlier_replies,
        is_partial=n_dialogues < there,
        adapter_sha256=system.adapter_sha256,
    )


def count_dialogues(corpus: Corpus, args: argparse.Namespace) -> tuple[int, int]:
    """(those to be replied to, those of the split). Raises ConfigError."""
    there = len(corpus.get_split(args.split))
    n_dialogues = there if args.dialogues is None else args.dialogues
    if not 1 <= n_dialogues <= there:
        raise ConfigError(f"--dialogues must lie in [1, {there}], not {n_dialogues}")
    return n_dialogues, there


def open_adapter(
    name: str, base_model: str | None, settings: Mapping[str, Any], device: str
) -> System:
    """An exported trial, or any LoRA adapter in peft's format; of an export without its adapter,
    the merged model. Raises ConfigError."""
    from trainable.model.adapter_fields import check_adapter
    from trainable.model.fingerprint import hash_file
    from trainable.storage.adapter import read_adapter_config, read_trial
    from tune.export.origin import ADAPTER, ADAPTER_CONFIG, MERGED, read_record

    folder = fetch(name, ADAPTER_FILES)
    record = read_record(folder)
    if record and not (folder / ADAPTER_CONFIG).is_file():
        folder = fetch(name, (*MODEL_FILES, f"{MERGED}/*"))
        is_earlier = (folder / MERGED).is_dir()  # exports had the model in a folder of its own
        return open_model(str(folder / MERGED if is_earlier else folder), settings, device)
    base = base_model or read_adapter_config(folder).get("base_model_name_or_path")
    if not base:
        raise ConfigError(f"--adapter {name} names no base model: give it with --base-model")
    told = pick_fields(read_trial(folder), device) | {"base_model": base, "adapter": str(folder)}
    config = TrialConfig.from_dict({**told, **settings, "method": "none"})
    check_adapter(config)
    return System(config=config, adapter_sha256=hash_file(folder / ADAPTER))


def open_model(name: str, settings: Mapping[str, Any], device: str) -> System:
    """A whole model as it is; of an export's merged one, with the trial's task and decoding."""
    from tune.export.origin import read_record

    record = read_record(Path(name))
    own = {"base_model": name, "initialisation": "pretrained", **pick_precision(device)}
    fields = pick_fields(record.get("config", {}), device)
    told = {n: v for n, v in fields.items() if n != "double_quantisation"}
    config = TrialConfig.from_dict({**told, **own, **settings, "method": "none"})
    return System(config=config, adapter_sha256=record.get("adapter_sha256"))


def pick_fields(trial: Mapping[str, Any], device: str) -> dict[str, Any]:
    """What a trial's config says of the model, the task and the decoding."""
    kept = {n: v for n, v in trial.items() if n not in TRAINING}
    return kept or {"corpus": "multiwoz", **pick_precision(device)}


def pick_precision(device: str) -> dict[str, Any]:
    from trainable.model.base import pick_device

    return {"quantisation": "bf16" if pick_device(device).type == "cuda" else "fp32"}


def fetch(name: str, patterns: tuple[str, ...]) -> Path:
    """The folder of that name, or the repository's files, downloaded once. Raises ConfigError."""
    from tune.export.hub import check_repo_name, persist

    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name.startswith((".", "/", "~")):
        raise ConfigError(f"--adapter must be a folder that exists or a hub id, not {name!r}")
    check_repo_name(name, "--adapter")
    from huggingface_hub import snapshot_download

    settle_network()
    return Path(persist(lambda: snapshot_download(name, allow_patterns=list(patterns))))


def generate(
    system: System, split: str, n_dialogues: int, device: str, *, keeps: bool = False
) -> dict[str, Any]:
    """The system's replies to the first dialogues of a split's fixed order, in mwzeval's format;
    `keeps`: the engine is left open for the next such call. Raises ConfigError where model, corpus
    or decoding are not there."""
    from trainable.model.packable import is_toy
    from trainable.solo.choose import open_finetuner
    from trainable.trial import TrialFailed
    from tune.terminal.bars import show_activities

    if is_toy(system.config):
        raise ConfigError(
            f"base_model={system.config.base_model} has no weights and generates no replies"
        )
    try:
        opened: Any = open_finetuner(system.config, device, keeps=keeps)
        request = ValidationRequest(n_dialogues, split=split)
        with closing(opened), show_activities():
            return dict(opened.generate(request).responses)
    except TrialFailed as error:
        raise ConfigError(f"the replies cannot be generated: {error}") from error


main = make_main(build_parser, write_replies)

if __name__ == "__main__":
    start_command(main)
