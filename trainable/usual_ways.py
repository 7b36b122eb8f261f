"""How fast the usual ways train and reply here, to hold the engine against:
`python -m trainable.usual_ways --checkpoint runs/NAME/checkpoints/ID/TURNS`.

lab: one trial at a time, one sequence a turn, batches of 1 accumulated to 16, activations computed
again in the backward pass, 4-bit layers, a paged optimizer; replies by `generate` at batch 1 to 16.
stock: peft on whole dialogues, padded batches of 8, `generate` at batch 64; several processes share
the GPU, as Ray Tune places trials on fractions of it. Prints one JSON line a rate.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from trainable.corpus.encode import Window
from trainable.engine.batches import DataOrder
from trainable.engine.measure import synchronise
from trainable.full import PlainFinetuner, list_prompts, quiet_dropout
from trainable.model.base import BaseSpec, load_base
from trainable.trial import TrialConfig

LAB_ACCUMULATED = 16  # turns a step, one at a time
STOCK_DIALOGUES = 8  # a pass
STOCK_REPLIES = 64  # a batch of `generate`


class UsualTrial:
    """A trial as transformers and peft are commonly used: 4-bit layers under autocast."""

    def __init__(self, config: TrialConfig, *, is_lab: bool) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        spec = BaseSpec(
            base_model=config.base_model,
            quantisation=config.quantisation,
            double_quantisation=config.double_quantisation,
            residency="nf4" if config.quantisation in ("nf4", "fp4") else "auto",
            device=device,
        )
        config = replace(config, format="turns") if is_lab else config
        self.plain = PlainFinetuner(config, load_base(spec))
        self.config, self.device = config, self.plain.device
        self.trained = [p for p in self.plain.model.parameters() if p.requires_grad]
        if is_lab:
            self.plain.model.enable_input_require_grads()
            self.plain.model.gradient_checkpointing_enable()
        self.optimizer = make_optimizer(self.trained, config, is_paged=is_lab)
        turns = LAB_ACCUMULATED if is_lab else 1
        self.order = DataOrder(self.plain.task.train, turns, config.seed)
        self.step = self._step_lab if is_lab else self._step_stock

    def _step_lab(self) -> int:
        """One optimizer step; the turns it took."""
        draws = self.order.next_step()
        return self._step([[draw.window] for draw in draws])

    def _step_stock(self) -> int:
        return self._step([[self.order.next_step()[0].window for _ in range(STOCK_DIALOGUES)]])

    def _step(self, batches: Sequence[Sequence[Window]]) -> int:
        for windows in batches:
            with torch.autocast(self.device.type, torch.bfloat16):
                nats, targets = self.plain.sum_nats(windows)
            (nats / targets / len(batches)).backward()
        torch.nn.utils.clip_grad_norm_(self.trained, self.config.clip_norm or 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return sum(window.n_turns for windows in batches for window in windows)

    def reply(self, batch: int, n_dialogues: int) -> int:
        """Replies to the first validation dialogues by `generate`, in batches of like length, the
        cache on; their number."""
        windows = self.plain.task.held_out("validation", n_dialogues)
        prompts = sorted((p for w in windows for p in list_prompts(w)), key=lambda p: -len(p[2]))
        self.plain.model.gradient_checkpointing_disable()
        self.plain.model.eval()
        with torch.no_grad(), quiet_dropout(self.plain.model):
            for start in range(0, len(prompts), batch):
                part = prompts[start : start + batch]
                with torch.autocast(self.device.type, torch.bfloat16):
                    self.plain.say([ids for _, _, ids in part], self.plain.choose_drawn(part))
        self.plain.model.train()
        return len(prompts)


def make_optimizer(trained: Any, config: TrialConfig, *, is_paged: bool) -> Any:
    rate = config.learning_rate or 0.0
    if is_paged:
        from bitsandbytes import optim

        return optim.PagedAdamW32bit(trained, lr=rate)  # type: ignore[attr-defined]
    return torch.optim.AdamW(trained, lr=rate, fused=True)


def measure_training(trial: UsualTrial, budget_s: float) -> float:
    """Turns a second, after two steps that are not counted."""
    for _ in range(2):
        trial.step()
    return measure_rate(trial.step, trial.device, budget_s)


def measure_rate(work: Callable[[], int], device: torch.device, budget_s: float) -> float:
    """Of the work done until the budget is spent, and once at least."""
    synchronise(device)
    started_s, done, seconds = time.perf_counter(), 0, 0.0
    while not done or seconds < budget_s:
        done += work()
        synchronise(device)
        seconds = time.perf_counter() - started_s
    return done / seconds


def measure_lab(config: TrialConfig, flags: argparse.Namespace) -> Iterator[dict[str, Any]]:
    trial = UsualTrial(config, is_lab=True)
    rate = measure_training(trial, flags.seconds)
    yield {"way": "lab", "work": "train", "processes": 1, "turns_per_s": rate}
    for batch in flags.reply_batches:
        n_dialogues = max(1, flags.dialogues if batch > 1 else flags.dialogues // 8)
        rate = measure_rate(lambda b=batch, n=n_dialogues: trial.reply(b, n), trial.device, 0.0)  # type: ignore[misc]
        yield {"way": "lab", "work": f"reply, batch {batch}", "processes": 1, "turns_per_s": rate}


def measure_stock(config: TrialConfig, flags: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All processes at once; their rates added up."""
    context = multiprocessing.get_context("spawn")
    barrier, rates = context.Barrier(flags.processes), context.Queue()
    workers = [
        context.Process(target=run_stock, args=(config, number, flags, barrier, rates))
        for number in range(flags.processes)
    ]
    for worker in workers:
        worker.start()
    found = [rates.get() for _ in workers]
    for worker in workers:
        worker.join()
    for place, work in enumerate(("train", f"reply, batch {STOCK_REPLIES}")):
        total = sum(rate[place] for rate in found)
        yield {
            "way": "stock",
            "work": work,
            "processes": flags.processes,
            "turns_per_s": total,
        }


def run_stock(
    config: TrialConfig, number: int, flags: argparse.Namespace, barrier: Any, rates: Any
) -> None:
    trial = UsualTrial(replace(config, seed=number), is_lab=False)
    trial.step()
    barrier.wait()
    train = measure_training(trial, flags.seconds)
    barrier.wait()
    reply = measure_rate(
        lambda: trial.reply(STOCK_REPLIES, flags.dialogues), trial.device, budget_s=0.0
    )
    rates.put((train, reply))


def spell(checkpoint: Path | None) -> TrialConfig:
    """The trial that left the checkpoint, going on from its adapter; else the lab's, in small."""
    if checkpoint is not None:
        fields = json.loads((checkpoint / "trainer.json").read_text())["config"]
        return TrialConfig.from_dict({**fields, "adapter": str(checkpoint)})
    return TrialConfig(
        double_quantisation=True, lora_rank=64, alpha_over_rank=0.25, rslora=False,
        lora_modules="all-linear", lora_dropout=0.1, learning_rate=2e-4, schedule="constant",
        warmup_turns=0, batch_turns=16, train_turns=10**6, weight_decay=0.0, clip_norm=0.3,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--checkpoint", type=Path, help="of a sweep's LoRA trial: replies end")
    parser.add_argument("--ways", nargs="+", default=["lab", "stock"], choices=("lab", "stock"))
    parser.add_argument("--processes", type=int, default=8, help="of the stock way")
    parser.add_argument("--reply-batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument(
        "--dialogues", type=int, default=64, help="replied to; an eighth at batch 1"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of training")
    flags = parser.parse_args()
    ways = {"lab": measure_lab, "stock": measure_stock}
    for way in flags.ways:
        for row in ways[way](spell(flags.checkpoint), flags):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
