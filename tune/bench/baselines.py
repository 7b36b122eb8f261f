"""How fast the usual ways train and reply here, to hold the engine against:
`python -m tune.bench.baselines --checkpoint runs/NAME/checkpoints/ID/TURNS`.

lab: one trial at a time, one sequence a turn, batches of 1 accumulated to 16, activations computed
again in the backward pass, 4-bit layers, a paged optimizer; replies by `generate` at batch 1 to 16.
stock: peft on whole dialogues, padded batches of 8, `generate` at batch 64; several processes share
the GPU, as Ray Tune places trials on fractions of it.
careful: peft over 16 bits as fast as transformers alone makes it (tune.bench.careful).
engine: ours, with that one trial in it. Prints one JSON line a rate.
"""

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.engine import throughput as measure
from trainable.engine.device.memory import give_back_memory
from trainable.engine.pack import Pack
from trainable.model.base import BaseSpec, load_base
from trainable.storage.adapter import rank_of, read_trial
from trainable.trial import TrialConfig
from tune.bench.careful import measure_careful
from tune.bench.usual import (
    UsualTrial,
    count_dialogues,
    count_tokens_a_turn,
    measure_rate,
    measure_training,
)

STOCK_REPLIES = 64  # a batch of `generate`
FEWEST_REPLIES = 16  # that the lab's way is measured with


def measure_lab(config: TrialConfig, flags: argparse.Namespace) -> Iterator[dict[str, Any]]:
    trial = UsualTrial(config, is_lab=True)
    common = {"way": "lab", "tokens_a_turn": count_tokens_a_turn(trial.plain.task)}
    yield common | {"work": "train", "turns_per_s": measure_training(trial, flags.seconds)}
    for batch in flags.reply_batches:
        replies = max(FEWEST_REPLIES, 2 * batch)  # full batches, and no hour of them
        reply = partial(trial.reply, batch, count_dialogues(trial.plain.task, replies))
        rate = measure_rate(reply, trial.device, 0.0)
        yield common | {"work": f"reply, batch {batch}", "turns_per_s": rate}


def measure_engine(config: TrialConfig, flags: argparse.Namespace) -> Iterator[dict[str, Any]]:
    pack = Pack(load_base(BaseSpec.of(config)), 1, rank_of(config))
    pack.join("engine", config, None)
    tokens = count_tokens_a_turn(pack.slots["engine"].task)
    common = {"way": "engine", "tokens_a_turn": tokens}
    rate = measure.measure_training(pack, flags.seconds).tokens_per_s / tokens
    yield common | {"work": "train", "turns_per_s": rate}
    replies = measure.measure_replies(pack, flags.engine_dialogues)
    yield common | {"work": "reply", "turns_per_s": replies.steps_per_s}


def measure_stock(config: TrialConfig, flags: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All processes at once; their rates added up. Ends with a line where one of them failed."""
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(flags.processes), context.Queue()
    workers = [
        context.Process(target=run_stock, args=(config, number, flags, barrier, queue))
        for number in range(flags.processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        sys.exit(f"error: {flags.processes} at a time failed here (see above): fewer --processes")
    found = [queue.get() for _ in workers]
    common = {"way": "stock", "tokens_a_turn": found[0][2], "processes": flags.processes}
    for place, work in enumerate(("train", f"reply, batch {STOCK_REPLIES}")):
        yield common | {"work": work, "turns_per_s": sum(rates[place] for rates in found)}


def run_stock(
    config: TrialConfig, number: int, flags: argparse.Namespace, barrier: Any, rates: Any
) -> None:
    try:
        trial = UsualTrial(replace(config, seed=number), is_lab=False)
        trial.step()
        barrier.wait()
        train = measure_training(trial, flags.seconds)
        barrier.wait()
        reply = measure_rate(
            lambda: trial.reply(STOCK_REPLIES, flags.dialogues), trial.device, budget_s=0.0
        )
    except Exception:
        barrier.abort()  # nobody waits for it
        raise
    rates.put((train, reply, count_tokens_a_turn(trial.plain.task)))


def spell(checkpoint: Path | None) -> TrialConfig:
    """The trial that left the checkpoint, going on from its adapter; else the lab's, in small."""
    if checkpoint is not None:
        return TrialConfig.from_dict({**read_trial(checkpoint), "adapter": str(checkpoint)})
    return TrialConfig(
        double_quantisation=True, lora_rank=64, alpha_over_rank=0.25, rslora=False,
        lora_modules="all-linear", lora_dropout=0.1, learning_rate=2e-4, schedule="constant",
        warmup_turns=0, batch_turns=16, train_turns=10**6, weight_decay=0.0, clip_norm=0.3,
    )  # fmt: skip


MEASUREMENTS = {
    "lab": measure_lab,
    "stock": measure_stock,
    "careful": measure_careful,
    "engine": measure_engine,
}


def measure_ways(flags: argparse.Namespace) -> Outcome:
    """Prints a line a rate, as soon as it is measured."""
    rows = []
    for way in flags.ways:
        for row in MEASUREMENTS[way](spell(flags.checkpoint), flags):
            print(json.dumps(row), flush=True)
            rows.append(row)
        give_back_memory()  # the next way may be of other processes
    return Outcome(facts={"rows": rows})


def build_parser() -> Parser:
    parser = Parser("tune.bench.baselines", __doc__, name="bench.baselines")
    parser.add_argument("--checkpoint", type=Path, help="of a sweep's LoRA trial: replies end")
    parser.add_argument(
        "--ways", nargs="+", default=list(MEASUREMENTS), choices=MEASUREMENTS, help="measured"
    )
    parser.add_argument("--processes", type=int, default=8, help="of the stock way")
    parser.add_argument(
        "--reply-batches", type=int, nargs="+", default=[1, 16], help="of the lab's way"
    )
    parser.add_argument("--dialogues", type=int, default=64, help="that stock replies to")
    parser.add_argument("--engine-dialogues", type=int, default=100, help="that the engine does")
    parser.add_argument("--seconds", type=float, default=10.0, help="of training")
    parser.add_argument(
        "--careful-dialogues", type=int, nargs="+", default=[5, 16, 64], help="a batch of that way"
    )
    parser.add_argument(
        "--careful-replies", type=int, nargs="+", default=[256, 1024], help="a batch of that way"
    )
    parser.add_argument("--compile", action="store_true", help="the careful way, by torch.compile")
    return parser


main = make_main(build_parser, measure_ways)

if __name__ == "__main__":
    start_command(main)
