"""How fast does it go here, and how much fits? python -m tune.bench

Prints the lab's row: GPU model, CUDA, training and inference in iterations a second. A training
iteration is one optimizer step of `batch_turns` system turns of one trial; an inference iteration
is one reply. With --pack N, N trials run on one base model and their iterations add up.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from trainable.command.outcome import Outcome, make_main
from trainable.command.parser import Parser
from trainable.trial import ConfigError
from tune.folder.versions import find_ours
from tune.plan.single import add_trial_flags, open_pack, spell_trial

if TYPE_CHECKING:
    from trainable.engine.pack import Pack
    from trainable.trial import TrialConfig

COLUMNS = (
    *("GPU model", "CUDA", "train [it/s]", "infer [it/s]", "train [tokens/s]", "infer [tokens/s]"),
    *("peak [GiB]", "LLM model", "params", "quantisation", "held as", "packed"),
)
SHOWN_VERSIONS = ("torch", "transformers", "peft", "bitsandbytes")
LIMITS = {"cpu": 64, "cuda": 65_536}  # replies at once that --largest-batch tries
LONGEST_REPLY = 4096
SHAPES = "shapes"  # --largest-model without names


def run(flags: argparse.Namespace) -> Outcome:
    if flags.largest_model == SHAPES:
        found = find_cards(flags)
    else:
        found = find_largest_model(flags) if flags.largest_model else run_here(flags)
    print(render(found))
    return Outcome(facts=found)


def run_here(flags: argparse.Namespace) -> dict[str, Any]:
    from tune.terminal.quiet import quieten

    quieten()
    if flags.pack < 1 or flags.dialogues < 1 or flags.seconds <= 0:
        raise ConfigError("--pack, --dialogues and --seconds must be above 0")
    config = spell_trial(flags.profile, flags.set)
    pack = open_pack(config, flags.pack, flags.device)
    if flags.largest_batch:
        return {"replies at once": find_batch(pack, config, flags)}
    if flags.longest_reply:
        return {"tokens of the longest reply": find_reply(pack, flags)}
    return measure(pack, flags)


def measure(pack: Pack, flags: argparse.Namespace) -> dict[str, Any]:
    from trainable.engine.throughput import describe_gpu, measure_replies, measure_training
    from trainable.system.versions import read_versions

    config = next(iter(pack.slots.values())).config
    train = measure_training(pack, flags.seconds) if config.method == "lora" else None
    infer = measure_replies(pack, flags.dialogues)
    gpu, cuda = describe_gpu() if pack.device.type == "cuda" else ("cpu", "–")
    versions = read_versions()
    return {
        "GPU model": gpu,
        "CUDA": cuda,
        "train [it/s]": train and train.steps_per_s,
        "infer [it/s]": infer.steps_per_s,
        "train [tokens/s]": train and train.tokens_per_s,
        "infer [tokens/s]": infer.tokens_per_s,
        "readied": train and train.readied and asdict(train.readied),
        "train [tokens/s] in all": train and train.tokens_per_s_in_all,
        "peak [GiB]": max(infer.peak_gib, train.peak_gib if train else 0.0),
        "LLM model": config.base_model,
        "params": pack.base.total_params,
        "quantisation": config.quantisation,
        "held as": pack.base.residency,
        "packed": len(pack.slots),
        "batch_turns": config.batch_turns,
        "versions": {name: versions[name] for name in SHOWN_VERSIONS if name in versions},
    }


def find_batch(pack: Pack, config: TrialConfig, flags: argparse.Namespace) -> int:
    from trainable.engine.throughput import find_largest, fits_batch

    limit = flags.limit or LIMITS[pack.device.type]

    def is_possible(rows: int) -> bool:
        return fits_batch(pack, rows, flags.prompt_tokens, config.max_new_tokens)

    return report_limit(find_largest(is_possible, limit), limit)


def find_reply(pack: Pack, flags: argparse.Namespace) -> int:
    from trainable.engine.throughput import find_largest, fits_batch

    window = getattr(pack.model.config, "max_position_embeddings", None) or LONGEST_REPLY
    limit = min(flags.limit or LONGEST_REPLY, LONGEST_REPLY, window - flags.prompt_tokens)
    if limit < 1:
        raise ConfigError(
            f"--prompt-tokens must leave room in the context window of {window} tokens, and "
            f"{flags.prompt_tokens} leaves none"
        )

    def is_possible(tokens: int) -> bool:
        return fits_batch(pack, 1, flags.prompt_tokens, tokens)

    return report_limit(find_largest(is_possible, limit), limit)


def report_limit(found: int, limit: int) -> int:
    if found == limit:
        print(f"no end was found: {limit} was the most that was tried (--limit)", file=sys.stderr)
    return found


def find_cards(flags: argparse.Namespace) -> dict[str, Any]:
    """What fits cards of several sizes."""
    from trainable.model.base import pick_device
    from tune.bench.cards import measure_cards
    from tune.terminal.quiet import quieten

    quieten()
    # what is there wherever this is installed, in the place of what is measured
    settings = [*flags.set, "base_model=tiny", "corpus=cambridge"]
    return measure_cards(spell_trial(flags.profile, settings), pick_device(flags.device))


def find_largest_model(flags: argparse.Namespace) -> dict[str, Any]:
    """Trains each model for a moment, in a process of its own, smallest first as they are named."""
    names = flags.largest_model.split(",")
    rows: list[dict[str, Any]] = []
    for name in names:
        settings = [f"--set={text}" for text in (*flags.set, f"base_model={name}")]
        common = [f"--profile={flags.profile}", f"--device={flags.device}", f"--pack={flags.pack}"]
        command = [sys.executable, "-P", "-m", "tune.bench", "--json", "--dialogues=2"]
        command += ["--seconds=1", *common, *settings]
        done = subprocess.run(command, env=find_ours(), capture_output=True, text=True, check=False)
        if done.returncode == 0:
            row = json.loads(done.stdout)
            figures = {title: row[title] for title in ("peak [GiB]", "train [it/s]")}
            rows.append({"LLM model": name, "fits for training": "yes", **figures})
        else:
            reason = (done.stderr.strip().splitlines() or ["it died without a word"])[-1]
            rows.append({"LLM model": name, "fits for training": f"no: {reason[:160]}"})
    fitting = [row["LLM model"] for row in rows if row["fits for training"] == "yes"]
    return {"models": rows, "the largest that fits": fitting[-1] if fitting else None}


def render(found: dict[str, Any]) -> str:
    """The lab's Markdown row, and what it was measured with."""
    if "cards" in found:
        from tune.bench.cards import render_cards

        return render_cards(found)
    if "models" in found:
        return render_models(found)
    if "GPU model" not in found:
        return "\n".join(f"{name}: {value}" for name, value in found.items())
    cells = [_show(name, found[name]) for name in COLUMNS]
    table = [COLUMNS, ("---",) * len(COLUMNS), cells]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return (
        "\n".join("| " + " | ".join(line) + " |" for line in table)
        + f"\n\nA training iteration is a step of {found['batch_turns'] or 'no'} system turns, an "
        f"inference iteration one reply. {describe_readied(found)}{versions}."
    )


def describe_readied(found: dict[str, Any]) -> str:
    """Of passes that a sweep makes once, and that are not among the rates."""
    if not found["readied"] or not found["readied"]["passes"]:
        return ""
    return (
        f"Left out: {found['readied']['passes']} passes that compiled or were recorded, "
        f"{found['readied']['seconds']:.1f} s; with them "
        f"{found['train [tokens/s] in all']:.0f} tokens/s. "
    )


def render_models(found: dict[str, Any]) -> str:
    titles = ("LLM model", "fits for training", "peak [GiB]", "train [it/s]")
    rows = [[_show(title, row.get(title, "")) for title in titles] for row in found["models"]]
    table = "\n".join("| " + " | ".join(line) + " |" for line in (titles, ("---",) * 4, *rows))
    return f"{table}\n\nthe largest that fits: {found['the largest that fits'] or 'none of them'}"


def _show(name: str, value: Any) -> str:
    from analysis.labels import format_count

    if value is None:
        return "–"
    if name == "params":
        return format_count(value)
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def build_parser() -> Parser:
    parser = Parser("tune.bench", __doc__)
    add_trial_flags(parser)
    parser.add_argument("--pack", type=int, default=1, help="trials that share one base model")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="seconds of training to measure"
    )
    parser.add_argument("--dialogues", type=int, default=16, help="dialogues to reply to")
    parser.add_argument(
        "--largest-batch",
        action="store_true",
        help="instead, find the most replies that can be decoded at once",
    )
    parser.add_argument(
        "--longest-reply",
        action="store_true",
        help="instead, find the longest reply that fits, in tokens",
    )
    parser.add_argument(
        *("--largest-model",),
        metavar="A,B,C",
        nargs="?",
        const=SHAPES,
        help="instead, find which of these base models can be trained here; without names: which "
        "model sizes (with random weights) GPUs of 16 to 141 GB hold, this one limited to each",
    )
    parser.add_argument(
        "--prompt-tokens",
        type=int,
        default=256,
        help="prompt length for --largest-batch and --longest-reply",
    )
    parser.add_argument(
        "--limit", type=int, help="where --largest-batch and --longest-reply stop trying"
    )
    return parser


main = make_main(build_parser, run)
