"""One trial as transformers and peft are commonly used, to train and to reply."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from trainable.engine.slots.data_order import DataOrder, Draw
from trainable.engine.slots.task import Task
from trainable.engine.throughput import synchronise
from trainable.model.base import FOUR_BIT, BaseSpec, load_base
from trainable.solo.generate import list_prompts
from trainable.solo.train import PlainFinetuner
from trainable.trial import TrialConfig

LAB_ACCUMULATED = 16  # turns a step, one at a time
STOCK_DIALOGUES = 8  # a pass
MEASURED_DIALOGUES = 100  # for how long a turn is


class UsualTrial:
    """A trial as transformers and peft are commonly used: 4-bit layers under autocast."""

    def __init__(self, config: TrialConfig, *, is_lab: bool, residency: str = "nf4") -> None:
        """`residency`: of weights in 4 bits."""
        own = residency if config.quantisation in FOUR_BIT else "auto"
        spec = BaseSpec.of(config, residency=own)
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
        return self._step([[draw] for draw in draws])

    def _step_stock(self) -> int:
        return self._step([[self.order.next_step()[0] for _ in range(STOCK_DIALOGUES)]])

    def _step(self, batches: Sequence[Sequence[Draw]]) -> int:
        for draws in batches:
            with self._autocast():
                nats, targets = self.plain.passes.sum_nats(draws)
            (nats / targets / len(batches)).backward()
        torch.nn.utils.clip_grad_norm_(self.trained, self.config.clip_norm or 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return sum(draw.window.n_turns for draws in batches for draw in draws)

    def _autocast(self) -> torch.autocast:
        dtype = self.plain.base.compute_dtype  # in 32 bits there is nothing to cast
        return torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)

    def reply(self, batch: int, n_dialogues: int) -> int:
        """Replies to the first validation dialogues by `generate`, in batches of like length, the
        cache on; their number."""
        windows = self.plain.task.held_out("validation", n_dialogues)
        prompts = sorted((p for w in windows for p in list_prompts(w)), key=lambda p: -len(p[2]))
        self.plain.model.gradient_checkpointing_disable()
        self.plain.model.eval()
        with torch.no_grad():
            for start in range(0, len(prompts), batch):
                part = prompts[start : start + batch]
                with self._autocast():
                    self.plain.passes.say(part, self.config)
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


def count_tokens_a_turn(task: Task) -> float:
    """Read for each turn that is learnt, where a dialogue is one sequence."""
    windows = task.held_out("validation", MEASURED_DIALOGUES)
    return sum(len(w.ids) for w in windows) / sum(w.n_turns for w in windows)


def count_dialogues(task: Task, replies: int) -> int:
    """Of the first validation dialogues, as many as hold about so many replies."""
    windows = task.held_out("validation", MEASURED_DIALOGUES)
    n_dialogues = len({window.dialogue_id for window in windows})
    return math.ceil(replies * n_dialogues / sum(window.n_turns for window in windows))
