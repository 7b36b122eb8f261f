"""Which architectures the packed engine computes exactly: python -m tune.bench.exactness [NAME ...]

Makes a tiny random model of each architecture and opens it as a trial does. What the engine takes
is compared with plain transformers (eager attention) and peft, in fp32 on the CPU, with adapters
that are not zero and a second trial beside it: log probabilities, loss, greedy replies, and the
adapter after three steps of AdamW. What it does not take runs by transformers alone, or is refused;
the reason is in the table, and what the engine's check of itself took. Exit code 1 where a row is
neither.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.command.outcome import Outcome, carry_out
from trainable.command.parser import Parser
from trainable.trial import CannotPack, ConfigError, TrialConfig, nearest
from tune.bench.tiny_models import MODELS, write_model

NEAR_LOG_P = 1e-4  # nats, the largest difference of a target's log probability
NEAR_WEIGHTS = 1e-3  # of the adapter's change, relative
STEPS = 3
HEADER = (
    "architecture",
    "log p",
    "loss, engine / peft",
    "replies",
    "training",
    "check, s",
    "verdict",
)


@dataclass(frozen=True, kw_only=True)
class Row:
    config: TrialConfig
    log_p: float  # largest difference, in nats
    losses: tuple[float, float]  # engine, peft: nats a target token
    replies: tuple[int, int]  # equal, all
    training: float  # relative difference of the adapter after some steps

    @property
    def is_right(self) -> bool:
        is_near = self.log_p < NEAR_LOG_P and self.training < NEAR_WEIGHTS
        return is_near and self.replies[0] == self.replies[1]

    def cells(self) -> tuple[str, ...]:
        return (
            f"{self.log_p:.1e}",
            f"{self.losses[0]:.3f} / {self.losses[1]:.3f}",
            f"{self.replies[0]}/{self.replies[1]}",
            f"{self.training:.1e}",
            read_check_s(self.config),
            "exact" if self.is_right else "WRONG",
        )


def main(arguments: Sequence[str] | None = None) -> int:
    return carry_out(build_parser(), judge_all, arguments)


def judge_all(flags: argparse.Namespace) -> Outcome:
    """Prints the table, a row at a time."""
    unknown = [name for name in flags.names if name not in MODELS]
    if unknown:
        near = nearest(unknown[0], MODELS)
        raise ConfigError(f"no model is called {unknown[0]}{near}: {', '.join(MODELS)}")
    from tune.terminal.quiet import quieten

    quieten()
    print("| " + " | ".join(HEADER) + " |\n|" + " --- |" * len(HEADER))
    rows: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in flags.names or MODELS:
            started_s = time.perf_counter()
            cells = judge(name, Path(scratch))
            rows.append(dict(zip(HEADER, (name, *cells), strict=True)))
            spent_s = time.perf_counter() - started_s
            print("| " + " | ".join((name, *cells)) + " |", flush=True)
            print(f"{name}: {spent_s:.1f} s", file=sys.stderr)
    is_right = not any(row["verdict"].startswith("WRONG") for row in rows)
    return Outcome(facts={"rows": rows}, code=0 if is_right else 1)


def judge(name: str, scratch: Path) -> tuple[str, ...]:
    """The row's cells behind the name."""
    from trainable.model.packable import why_alone

    dashes = ("–",) * (len(HEADER) - 2)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            folder = write_model(name, scratch / name)
            config = make_config(folder)
            reason = why_alone(config)
            if reason is None:
                return compare(config, scratch / f"{name}-adapter").cells()
    except CannotPack as error:
        reason = str(error)
    except ConfigError as error:
        return (*dashes, f"refused: {error}")
    except Exception as error:
        return (*dashes, f"WRONG: {type(error).__name__}: {str(error)[:120]}")
    return (*dashes[:-1], read_check_s(config), f"alone: {reason}")


def read_check_s(config: TrialConfig) -> str:
    from trainable.model.verdicts import key_of, recall_verdict

    verdict = recall_verdict(key_of(config), "cpu")
    return "–" if verdict is None else f"{verdict.check_s:.1f}"


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


def compare(config: TrialConfig, adapter: Path) -> Row:
    """A trial beside another one against plain peft. Raises CannotPack as the engine does."""
    from trainable.engine.pack import Pack
    from trainable.model.base import BaseSpec, load_base
    from tune.bench.peft_reference import Reference

    pack = Pack(load_base(BaseSpec.of(config, device="cpu")), slots=2, max_rank=8)
    for number, key in enumerate(("mine", "other")):
        pack.join(
            key, make_config(Path(config.base_model), seed=number, lora_rank=4 + number), None
        )
        fill_adapter(pack, key)
    pack.copy_state("mine").write(adapter)
    reference = Reference(config, adapter, pack.base.special)
    task = pack.slots["mine"].task
    windows = task.held_out("validation", 3)
    log_p, losses = compare_losses(pack, windows, reference)
    made = pack.generate([(slot, "validation", 3) for slot in pack.slots.values()])["mine"][0]
    found = [turn["response"] for turns in made.values() for turn in turns]
    by_name = {window.dialogue_id: window for window in windows}
    wanted = [
        task.decode(reference.reply(by_name[name].ids[:prefix].tolist()))
        for name in made
        for prefix in by_name[name].prompts
    ]
    training = compare_training(pack, reference)
    equal = sum(a == b for a, b in zip(found, wanted, strict=True))
    return Row(
        config=config, log_p=log_p, losses=losses, replies=(equal, len(wanted)), training=training
    )


def fill_adapter(pack: Any, key: str) -> None:
    """B's that are not zero, so that an adapter that is lost shows."""
    import torch

    row, layout = pack.rows.index(key), pack.bank.layout
    slot = pack.slots[key]
    generator = torch.Generator().manual_seed(slot.config.seed)
    for name in slot.shape.modules:
        b = layout.pair(pack.bank.params, name, row)[1][: slot.shape.rank]
        b.copy_(0.1 * torch.randn(b.shape, generator=generator))
    pack.bank.average[row] = pack.bank.params[row]
    pack.adapters.invalidate()


def compare_losses(
    pack: Any, windows: Sequence[Any], reference: Any
) -> tuple[float, tuple[float, float]]:
    """(largest difference of a target's log probability, mean losses): the windows of one slot
    beside the other's, some of which are longer."""
    import torch

    from trainable.engine.layers.passes import pack_windows
    from trainable.engine.slots.bank import SlotRange
    from trainable.engine.train.loss import TargetLoss

    company = pack.slots["other"].task.train[:3]
    groups = [windows, company] if pack.rows[0] == "mine" else [company, windows]
    tokens = pack_windows(groups, pack.device)
    dtype = pack.base.compute_dtype
    with torch.no_grad():
        pack.adapters.begin_inference(SlotRange(0, 2), tokens.layout, dtype)
        hidden = pack.forward(tokens.ids, tokens.positions, tokens.packing)[0]
        before = hidden[tokens.before_targets]
        ones = torch.ones(len(tokens.labels))
        _, nats = TargetLoss.apply(before, pack.output(), tokens.labels, ones)
    pack.adapters.invalidate()
    found = nats[tokens.target_slots == pack.rows.index("mine")]
    wanted = torch.cat([reference.nats(window) for window in windows])
    largest = float((found - wanted).abs().max())
    return largest, (float(found.mean()), float(wanted.mean()))


def compare_training(pack: Any, reference: Any) -> float:
    slot = pack.slots["mine"]
    reference.train(slot.task.train, STEPS)
    while slot.steps < STEPS:
        for each in pack.slots.values():
            each.goal_turns = each.turns_seen + 1
        pack.train_pass(list(pack.slots.values()))
    return float(reference.distance(pack.copy_state("mine").adapter))


def build_parser() -> Parser:
    parser = Parser("tune.bench.exactness", __doc__, name="bench.exactness")
    parser.add_argument("names", nargs="*", metavar="NAME", help="architectures (all of them)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
