"""The usual way with care: peft as fast as transformers alone makes it, to hold the engine against.

A base in 16 bits (of a trial in 4 the dequantised values, which the engine computes on, too), whole
dialogues in padded batches of like length, fused AdamW, torch's attention, torch.compile if asked
for; replies by the model with the adapter merged in, in large batches of like length, and by
transformers' continuous batching.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from trainable.engine.device.memory import give_back_memory
from trainable.engine.slots.data_order import Draw
from trainable.solo.generate import list_prompts, spell_generation
from trainable.trial import TrialConfig
from tune.bench.usual import (
    UsualTrial,
    count_dialogues,
    count_tokens_a_turn,
    measure_rate,
    measure_training,
)

SORTED_BATCHES = 50  # whose dialogues are drawn together, and sorted by length


class CarefulTrial(UsualTrial):
    def __init__(self, config: TrialConfig, dialogues: int, *, is_compiled: bool = False) -> None:
        """`dialogues`: of a batch, which is a step."""
        super().__init__(config, is_lab=False, residency="dequantized")
        self.dialogues = dialogues
        self.batches = self._draw_batches()
        self.step = self._step_careful
        if is_compiled:
            self.plain.passes.model = torch.compile(self.plain.model, dynamic=True)

    def _step_careful(self) -> int:
        return self._step([next(self.batches)])

    def _draw_batches(self) -> Iterator[Sequence[Draw]]:
        """Batches of like length, in an order of chance."""
        size, chance = self.dialogues, random.Random(self.config.seed)
        while True:
            draws = [self.order.next_step()[0] for _ in range(SORTED_BATCHES * size)]
            draws.sort(key=lambda draw: len(draw.window.ids))
            batches = [draws[i : i + size] for i in range(0, len(draws), size)]
            chance.shuffle(batches)
            yield from batches

    def merge(self) -> None:
        """From now on it replies, and trains no more."""
        self.plain.model = self.plain.passes.model = self.plain.model.merge_and_unload()

    def reply_continuously(self, n_dialogues: int) -> int:
        """Replies to the first validation dialogues by transformers' own batching; their number."""
        windows = self.plain.task.held_out("validation", n_dialogues)
        prompts = [ids for window in windows for _, _, ids in list_prompts(window)]
        special = replace(self.plain.base.special, eos=self.plain.task.special.eos)
        self.plain.model.eval()
        self.plain.model.generate_batch(
            inputs=prompts, generation_config=spell_generation(self.config, special)
        )
        return len(prompts)


def measure_careful(config: TrialConfig, flags: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for dialogues in flags.careful_dialogues:
        trial = CarefulTrial(config, dialogues, is_compiled=flags.compile)
        common = {"way": "careful", "tokens_a_turn": count_tokens_a_turn(trial.plain.task)}
        work = f"train, {dialogues} dialogues" + (", compiled" if flags.compile else "")
        yield common | {"work": work, "turns_per_s": measure_training(trial, flags.seconds)}
        give_back_memory()
    trial.merge()
    for batch in flags.careful_replies:
        reply = partial(trial.reply, batch, count_dialogues(trial.plain.task, batch))
        rate = measure_rate(reply, trial.device, 0.0)
        yield common | {"work": f"reply, batch {batch}", "turns_per_s": rate}
    n_dialogues = count_dialogues(trial.plain.task, max(flags.careful_replies))
    rate = measure_rate(partial(trial.reply_continuously, n_dialogues), trial.device, 0.0)
    yield common | {"work": "reply, continuous batching", "turns_per_s": rate}
