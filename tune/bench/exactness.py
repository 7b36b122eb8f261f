"""Which architectures the packed engine computes exactly: python -m tune.bench.exactness [NAME ...]

Makes a tiny random model of each architecture and opens it as a trial does. What the engine takes
is compared with plain transformers (eager attention) and peft, in fp32 on the CPU, with adapters
that are not zero and a second trial beside it: log probabilities, loss, greedy replies, and the
adapter after three steps of AdamW. What it does not take runs by transformers alone, which is
compared likewise (several dialogues at a time with one), or is refused; the reason is in the table,
and what the engine's check of itself took. Exit code 1 where a row is wrong.
"""

import argparse
import contextlib
import io
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.system.versions import read_versions
from trainable.trial import CannotPack, ConfigError, TrialConfig, nearest
from tune.bench.comparison import Comparison, compare, compare_alone
from tune.bench.tiny_models import MODELS, write_model
from tune.terminal.quiet import quieten

HEADER = (
    "architecture",
    "log p",
    "loss, here / peft",
    "replies",
    "training",
    "check, s",
    "verdict",
)
DASH = "–"


def judge_all(flags: argparse.Namespace) -> Outcome:
    """Prints the table, a row at a time."""
    unknown = [name for name in flags.names if name not in MODELS]
    if unknown:
        near = nearest(unknown[0], MODELS)
        raise ConfigError(f"no model is called {unknown[0]}{near}: {', '.join(MODELS)}")
    if flags.processes < 1:
        raise ConfigError(f"--processes must be above 0, not {flags.processes}")
    names, started_s = flags.names or list(MODELS), time.perf_counter()
    print("| " + " | ".join(HEADER) + " |\n|" + " --- |" * len(HEADER))
    rows: list[dict[str, str]] = []
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as scratch,
        ProcessPoolExecutor(flags.processes, spawn, initializer=start) as pool,
    ):
        places = [Path(scratch)] * len(names)
        for name, cells in zip(names, pool.map(judge, names, places), strict=True):
            rows.append(dict(zip(HEADER, (name, *cells), strict=True)))
            print("| " + " | ".join((name, *cells)) + " |", flush=True)
    versions = {name: read_versions()[name] for name in ("torch", "transformers", "peft")}
    summary = count(rows)
    spent_s = time.perf_counter() - started_s
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    print(f"\n{summary}; {spent_s:.0f} s in {flags.processes} processes; {told}.")
    facts = {"rows": rows, "summary": summary, "spent_s": spent_s, "versions": versions}
    return Outcome(facts=facts, code=1 if "WRONG" in summary else 0)


def count(rows: Sequence[dict[str, str]]) -> str:
    """How many rows have which verdict, without its reason; checks' seconds.

    >>> count([{"verdict": "exact", "check, s": "2.0"}, {"verdict": "alone: x", "check, s": "–"}])
    '2 architectures: 1 exact, 1 alone; the median self-check takes 2.0 s, the longest 2.0 s'
    """
    verdicts = [row["verdict"].partition(":")[0] for row in rows]
    parts = [f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts)]
    told = f"{len(rows)} architectures: {', '.join(parts)}"
    checks = sorted(float(row["check, s"]) for row in rows if row["check, s"] != DASH)
    if not checks:
        return told
    middle, longest = checks[len(checks) // 2], checks[-1]
    return f"{told}; the median self-check takes {middle} s, the longest {longest} s"


def start() -> None:
    """A process of its own for some rows: one thread, so that several do not slow each other."""
    quieten()
    import torch

    torch.set_num_threads(1)


def judge(name: str, scratch: Path) -> tuple[str, ...]:
    """The row's cells behind the name."""
    import transformers

    dashes = (DASH,) * (len(HEADER) - 2)
    if not hasattr(transformers, MODELS[name]["class"]):
        return (*dashes, f"left out: unknown to transformers {transformers.__version__}")
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return compare_somehow(make_config(write_model(name, scratch / name)))
    except ConfigError as error:
        return (*dashes, f"refused: {error}")
    except Exception as error:
        return (*dashes, f"WRONG: {type(error).__name__}: {str(error)[:120]}")


def compare_somehow(config: TrialConfig) -> tuple[str, ...]:
    """By the engine, or alone where that does not take it."""
    from trainable.model.packable import why_alone

    adapter = Path(f"{config.base_model}-adapter")
    reason = why_alone(config)
    if reason is None:
        try:
            return spell(compare(config, adapter), config, "exact")
        except CannotPack as error:
            reason = str(error)
    verdict = f"alone: {reason}"
    return spell(compare_alone(config, adapter), config, verdict)


def spell(found: Comparison, config: TrialConfig, verdict: str) -> tuple[str, ...]:
    return (
        f"{found.log_p:.1e}",
        f"{found.losses[0]:.3f} / {found.losses[1]:.3f}",
        f"{found.replies[0]}/{found.replies[1]}",
        f"{found.training:.1e}",
        read_check_s(config),
        verdict if found.is_right else f"WRONG ({verdict})",
    )


def read_check_s(config: TrialConfig) -> str:
    from trainable.model.verdicts import key_of, recall_verdict

    verdict = recall_verdict(key_of(config), "cpu")
    return DASH if verdict is None else f"{verdict.check_s:.1f}"


def make_config(folder: Path, **changes: Any) -> TrialConfig:
    return TrialConfig(
        **{
            "base_model": str(folder),
            "quantisation": "fp32",
            "lora_rank": 4,
            "alpha_over_rank": 2.0,
            "rslora": False,
            "lora_modules": "all-linear",
            "lora_dropout": 0.0,
            "learning_rate": 1e-3,
            "schedule": "constant",
            "warmup_turns": 0,
            "batch_turns": 8,
            "train_turns": 10_000,
            "weight_decay": 0.0,
            "clip_norm": 1.0,
            "max_new_tokens": 12,
            **changes,
        }
    )


def build_parser() -> Parser:
    parser = Parser("tune.bench.exactness", __doc__, name="bench.exactness")
    parser.add_argument("names", nargs="*", metavar="NAME", help="architectures (all of them)")
    parser.add_argument("--processes", type=int, default=1, help="rows made at a time, a core each")
    return parser


main = make_main(build_parser, judge_all)

if __name__ == "__main__":
    start_command(main)
