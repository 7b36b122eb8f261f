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
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainable.system.environment import set_environment
from trainable.trial import ConfigError
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


def main(arguments: Sequence[str] | None = None) -> int:
    flags = build_parser().parse_args(arguments)
    set_environment(deterministic=False, trust_remote_code=flags.trust_remote_code)
    try:
        if flags.largest_model:
            return find_largest_model(flags)
        return run(flags)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(flags: argparse.Namespace) -> int:
    from tune.terminal.quiet import quieten

    quieten()
    if flags.pack < 1 or flags.dialogues < 1 or flags.seconds <= 0:
        raise ConfigError("--pack, --dialogues and --seconds must be above 0")
    config = spell_trial(flags.profile, flags.set)
    pack = open_pack(config, flags.pack, flags.device)
    if flags.largest_batch:
        found = {"replies at once": find_batch(pack, config, flags)}
    elif flags.longest_reply:
        found = {"tokens of the longest reply": find_reply(pack, flags)}
    else:
        found = measure(pack, flags)
    print(json.dumps(found) if flags.json else render(found))
    return 0


def measure(pack: Pack, flags: argparse.Namespace) -> dict[str, Any]:
    from trainable.engine.throughput import describe_gpu, measure_replies, measure_training
    from tune.folder.versions import read_versions

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


def find_largest_model(flags: argparse.Namespace) -> int:
    """Trains each model for a moment, in a process of its own, smallest first as they are named."""
    names = flags.largest_model.split(",")
    lines = [("LLM model", "fits for training", "peak [GiB]", "train [it/s]"), ("---",) * 4]
    largest = None
    for name in names:
        settings = [f"--set={text}" for text in (*flags.set, f"base_model={name}")]
        common = [f"--profile={flags.profile}", f"--device={flags.device}", f"--pack={flags.pack}"]
        command = [sys.executable, "-m", "tune.bench", "--json", "--dialogues=2", "--seconds=1"]
        done = subprocess.run(
            [*command, *common, *settings], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            row = json.loads(done.stdout.strip().splitlines()[-1])
            lines.append((name, "yes", f"{row['peak [GiB]']:.1f}", f"{row['train [it/s]']:.2f}"))
            largest = name
        else:
            reason = (done.stderr.strip().splitlines() or ["it died without a word"])[-1]
            lines.append((name, f"no: {reason[:160]}", "", ""))
    print("\n".join("| " + " | ".join(line) + " |" for line in lines))
    print(f"\nthe largest that fits: {largest or 'none of them'}")
    return 0


def render(found: dict[str, Any]) -> str:
    """The lab's Markdown row, and what it was measured with."""
    if "GPU model" not in found:
        return "\n".join(f"{name}: {value}" for name, value in found.items())
    cells = [_show(name, found[name]) for name in COLUMNS]
    table = [COLUMNS, ("---",) * len(COLUMNS), cells]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return (
        "\n".join("| " + " | ".join(line) + " |" for line in table)
        + f"\n\nA training iteration is a step of {found['batch_turns'] or 'no'} system turns, an "
        f"inference iteration one reply. {versions}."
    )


def _show(name: str, value: Any) -> str:
    from analysis.labels import format_count

    if value is None:
        return "–"
    if name == "params":
        return format_count(value)
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tune.bench", description=__doc__, allow_abbrev=False
    )
    add_trial_flags(parser)
    parser.add_argument("--pack", type=int, default=1, help="trials on one base model (1)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of training (20)")
    parser.add_argument("--dialogues", type=int, default=16, help="to reply to (16)")
    parser.add_argument("--largest-batch", action="store_true", help="replies decoded at once")
    parser.add_argument("--longest-reply", action="store_true", help="in tokens, forced")
    parser.add_argument(
        "--largest-model", metavar="A,B,C", help="which of these base models can be trained"
    )
    parser.add_argument("--prompt-tokens", type=int, default=256, help="of the two searches (256)")
    parser.add_argument("--limit", type=int, help="the most that the two searches try")
    parser.add_argument("--json", action="store_true", help="one JSON object in place of the table")
    return parser
