"""Takes a sweep's best adapter to where others can use it: a folder, or the Hugging Face Hub."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.command.flags import add_name, add_trust
from trainable.command.outcome import Outcome, make_main
from trainable.command.parser import Parser
from trainable.trial import ConfigError
from tune.terminal.quiet import quieten

if TYPE_CHECKING:
    from analysis.records import SweepRecords
    from tune.export.choice import Choice
    from tune.export.push import Target

METRICS = ("objective", "combined", "bleu", "inform", "success")


def build_parser() -> Parser:
    parser = Parser("tune.export", __doc__)
    add_name(parser)
    add_choice(parser.add_argument_group("which trial"))
    add_content(parser.add_argument_group("what goes out"))
    add_trust(parser)
    add_place(parser.add_argument_group("where it goes"))
    return parser


def add_choice(choice: argparse._ActionsContainer) -> None:
    choice.add_argument("--trial", metavar="ID", help="export this trial (default: the best)")
    choice.add_argument(
        "--metric", choices=METRICS, default="objective", help="choose the best by this score"
    )
    choice.add_argument(
        "--top",
        type=int,
        default=1,
        metavar="N",
        help="export the best N, each as OUT/ID or user/name-ID",
    )


def add_content(content: argparse._ActionsContainer) -> None:
    content.add_argument(
        "--merged", action="store_true", help="also the whole model, with the adapter merged in"
    )
    content.add_argument(
        "--gguf",
        nargs="*",
        choices=("f16", "q8_0"),
        metavar="KIND",
        help="also the merged model for llama.cpp and Ollama: f16, q8_0 or both (alone: f16)",
    )
    content.add_argument(
        "--base-model-id",
        metavar="ID",
        help="the base model's id on the Hub, where the sweep used a local folder",
    )
    content.add_argument(
        "--dataset-id",
        metavar="ID",
        help="the corpus's id on the Hub, where the sweep used a local folder",
    )
    content.add_argument(
        "--licence",
        metavar="ID",
        help="the base model's licence (default: as its page on the Hub says)",
    )
    content.add_argument(
        "--scores",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="test scores for the model card, which tune.evaluate --adapter OUT --json FILE writes",
    )


def add_place(place: argparse._ActionsContainer) -> None:
    place.add_argument("--out", type=Path, metavar="FOLDER", help="write the folder here")
    place.add_argument("--repo", metavar="USER/NAME", help="push it to the Hub")
    place.add_argument(
        "--dataset-repo",
        metavar="USER/NAME",
        help="push the leaderboard and the report to this dataset",
    )
    place.add_argument(
        "--public", action="store_true", help="make a new repository public (default: private)"
    )
    place.add_argument("--revision", metavar="BRANCH", help="push to this branch")
    place.add_argument("--pr", action="store_true", help="open a pull request")
    place.add_argument(
        "--dry-run", action="store_true", help="send nothing, list what would be sent"
    )


def export(flags: argparse.Namespace) -> Outcome:
    """Writes what the flags ask for. Facts: what went where. Raises ConfigError."""
    quieten()
    check_flags(flags)
    target, board = aim(flags, flags.repo, "model"), aim(flags, flags.dataset_repo, "dataset")

    from analysis.records import find_sweep, read_sweep
    from tune.export.choice import choose_trials

    records = read_sweep(find_sweep(flags.name, flags.storage))
    url = export_board(flags, records, board) if board else None
    if board and not (flags.out or flags.repo):
        return Outcome(facts={"exported": [], "dataset": url})
    choices = choose_trials(records, trial=flags.trial, metric=flags.metric, top=flags.top)
    if len(choices) < flags.top:
        print(f"only {len(choices)} of the best {flags.top} can be exported", file=sys.stderr)
    exported = []
    for choice in choices:
        own = target and replace(target, repo=name_part(target.repo, choice, flags.top, "-"))
        with open_folder(flags, choice) as folder:
            exported.append(export_one(flags, choice, folder, own))
    return Outcome(facts={"exported": exported, "dataset": url})


def check_flags(flags: argparse.Namespace) -> None:
    if not (flags.out or flags.repo or flags.dataset_repo or flags.dry_run):
        raise ConfigError("an export needs a place: --out FOLDER, --repo USER/NAME, or both")
    if flags.top < 1 or (flags.top > 1 and flags.trial):
        raise ConfigError(f"--top must be at least 1, and 1 with --trial, not {flags.top}")
    if flags.top > 1 and flags.scores:
        raise ConfigError("--scores are of one adapter: choose it with --trial, without --top")
    if not (flags.repo or flags.dataset_repo):
        for name in ("public", "revision", "pr"):
            if getattr(flags, name):
                raise ConfigError(f"--{name.replace('_', '-')} has no meaning without --repo")


def aim(flags: argparse.Namespace, repo: str | None, kind: str) -> Target | None:
    from tune.export.push import Target

    if not repo:
        return None
    return Target(
        repo=repo, is_public=flags.public, revision=flags.revision, opens_pr=flags.pr, kind=kind
    )


def export_board(flags: argparse.Namespace, records: SweepRecords, target: Target) -> str | None:
    """Where the leaderboard and the report can be seen now; None in a dry run."""
    from tune.export.dataset import write_dataset

    with tempfile.TemporaryDirectory() as name:
        write_dataset(records, flags.repo, Path(name))
        if not flags.dry_run:
            return send(f"The sweep {records.name}", Path(name), target)
        list_content(Path(name), target)
        return None


def name_part(whole: str, choice: Choice, top: int, sign: str) -> str:
    """The place of one of several trials."""
    return whole if top == 1 else f"{whole}{sign}{choice.trial.id}"


@contextlib.contextmanager
def open_folder(flags: argparse.Namespace, choice: Choice) -> Iterator[Path]:
    """A draft of --out, or a folder that is gone afterwards."""
    from tune.export.folder import placed

    if flags.out:
        with placed(Path(name_part(str(flags.out), choice, flags.top, "/"))) as draft:
            yield draft
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


def export_one(
    flags: argparse.Namespace, choice: Choice, folder: Path, target: Target | None
) -> dict[str, Any]:
    """JSON-ready: what went where."""
    from tune.export.folder import Wanted, write_export

    out = Path(name_part(str(flags.out), choice, flags.top, "/")) if flags.out else None
    wanted = Wanted(
        where=target.repo if target else out.name if out else choice.records.name,
        base_model_id=flags.base_model_id,
        dataset_id=flags.dataset_id,
        licence=flags.licence,
        scores=flags.scores,
        is_merged=flags.merged,
        gguf=() if flags.gguf is None else tuple(dict.fromkeys(flags.gguf)) or ("f16",),
    )
    record = write_export(choice, wanted, folder)
    from analysis.labels import format_score, label_objective
    from trainable.storage.adapter import read_adapter_config
    from tune.export.serving import why_not_vllm

    evaluation = choice.evaluation
    print(
        f"trial {choice.trial.id} of {choice.records.name}: {label_objective(evaluation.name)} "
        f"{format_score(evaluation.value, evaluation.name)} on {choice.evaluation.n_dialogues} "
        f"{choice.evaluation.split} dialogues, base {record['config']['base_model']}"
    )
    if out:
        print(f"folder {out}")
    if not wanted.is_whole and (why := why_not_vllm(read_adapter_config(folder))):
        print(why)
    if flags.dry_run:
        list_content(folder, target)
    title = f"Trial {choice.trial.id} of {choice.records.name}"
    url = send(title, folder, target) if target and not flags.dry_run else None
    score = {"objective": evaluation.name, "value": evaluation.value}
    score |= {"trial": choice.trial.id, "combined": evaluation.combined}
    return {**score, "folder": out, "repo": target and target.repo, "url": url}


def list_content(folder: Path, target: Target | None) -> None:
    """What would be sent, and where."""
    from tune.export.push import list_files

    place = "--out FOLDER or --repo USER/NAME"
    if target:
        kind = "public" if target.is_public else "private"
        at = "a pull request to" if target.opens_pr else f"branch {target.revision or 'main'} of"
        place = f"{at} {target.repo} (a new repository would be {kind})"
    print(f"would go to {place}:")
    for name in list_files(folder):
        print(f"{(folder / name).stat().st_size:>14,} bytes  {name}")


def send(title: str, folder: Path, target: Target) -> str:
    """Where it can be seen now."""
    from huggingface_hub import HfApi

    from tune.export.push import push_folder

    pushed = push_folder(HfApi(), folder, target, title)
    print(f"pushed: {pushed.url}" if pushed.is_new else f"nothing has changed: {pushed.url}")
    return str(pushed.url)


main = make_main(build_parser, export)
