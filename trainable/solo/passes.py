"""Passes of one trial's own model, by transformers: the loss on windows, and replies to prompts.

Full finetuning at 16 bits computes in these over 32-bit weights: in 16 alone, steps as small as a
finetuning's would round to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from trainable.corpus.encode import Window
from trainable.engine.decode.decode import SlotOutput
from trainable.engine.decode.own_replies import follows_own, reply_in_turn
from trainable.engine.decode.turn_by_turn import Talk
from trainable.engine.device.memory import give_back_memory
from trainable.engine.layers.lora import Pass, add_noise
from trainable.engine.layers.noise import make_row_noise
from trainable.engine.slots.data_order import Draw
from trainable.engine.slots.task import Task
from trainable.model.base import Base
from trainable.model.special_ids import cut_at
from trainable.result import ValidationRequest
from trainable.solo.generate import (
    Prompt,
    choose_drawn,
    list_prompts,
    quiet_dropout,
    spell_generation,
)
from trainable.solo.padding import ROUGH_NATS, check_order, ignores_padding, in_32_bits
from trainable.system.activity import ALONE, ReplyCounter
from trainable.trial import TrialConfig

IGNORED = -100  # torch's label of what is no target


class Passes:
    """Of a decoder."""

    def __init__(self, config: TrialConfig, base: Base, task: Task, model: Any) -> None:
        self.base, self.task, self.model = base, task, model
        self.config, self.device = config, base.device
        self.now = Pass()
        add_noise(model, self.now)
        self.is_mixed = config.method == "full" and config.quantisation == "bf16"
        self.is_one_a_time = not self._ignores_padding()
        self.rows_a_batch = 64 if self.device.type == "cuda" else 32
        if self.is_one_a_time:
            self.rows_a_batch = 1

    def _ignores_padding(self) -> bool:
        windows = self.task.held_out("validation", 4)
        text = np.concatenate([window.ids for window in windows]).tolist()
        rough = {"near": ROUGH_NATS} if self.config.quantisation == "int8" else {}
        try:
            with in_32_bits(self.model), quiet_dropout(self.model):
                check_order(self.model, self.pad, text, self.config.base_model, **rough)
                return ignores_padding(self.model, self.pad, text, **rough)
        except torch.OutOfMemoryError:
            return False  # it is not known

    def autocast(self) -> Any:
        return torch.autocast(self.device.type, self.base.compute_dtype, enabled=self.is_mixed)

    def sum_nats(self, draws: Sequence[Draw]) -> tuple[Tensor, int]:
        """Of a training pass: the summed loss [] in nats over the dialogues' targets, and
        how many there are."""
        if self.is_one_a_time and len(draws) > 1:
            sums, counts = zip(*(self.sum_nats([draw]) for draw in draws), strict=True)
            return torch.stack(sums).sum(), sum(counts)
        self.now.noise = make_row_noise([(self.config, draw) for draw in draws], self.device)
        logits, labels = self.predict([draw.window for draw in draws])
        self.now.noise = None
        nats = F.cross_entropy(logits, labels, reduction="sum")
        return nats, int((labels != IGNORED).sum())

    def list_nats(self, window: Window) -> NDArray[np.float64]:
        """Each target's loss."""
        logits, labels = self.predict([window])
        nats = F.cross_entropy(logits, labels, reduction="none")[labels != IGNORED]
        return nats.double().cpu().numpy()

    def predict(self, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        """Logits [tokens, vocabulary], and what each is to predict [tokens]: IGNORED where that is
        no target."""
        ids, mask = self.pad([window.ids.tolist() for window in windows], left=False)
        labels = torch.full_like(ids, IGNORED)
        for row, window in enumerate(windows):
            targets = torch.from_numpy(window.targets).to(ids.device)
            labels[row, targets] = ids[row, targets]
        with self.autocast():
            logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        return logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten()

    def pad(self, rows: Sequence[list[int]], *, left: bool) -> tuple[Tensor, Tensor]:
        """ids and attention mask [rows, longest]."""
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self.base.special.pad, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            part = slice(longest - len(row), longest) if left else slice(0, len(row))
            ids[i, part] = torch.tensor(row)
            mask[i, part] = 1
        return ids.to(self.device), mask.to(self.device)

    def reply_to(
        self, asked: ValidationRequest, config: TrialConfig
    ) -> dict[tuple[str, int], list[int]]:
        """(dialogue, system turn) -> reply, for all turns of the dialogues asked for."""
        windows = self.task.held_out(asked.split, asked.n_dialogues)
        counter = ReplyCounter([ALONE], sum(window.n_turns for window in windows))

        def decode(places: Sequence[Sequence[Window]]) -> list[SlotOutput]:
            prompts = [prompt for window in places[0] for prompt in list_prompts(window)]
            return [SlotOutput(self.reply(prompts, config, counter.add))]

        if not follows_own(config):
            return decode([windows])[0].replies
        talk = Talk(self.task, [*self.task.dialogues(asked.split, asked.n_dialogues)])
        return reply_in_turn({0: talk}, 1, decode, decode)[0].replies

    def reply(
        self, prompts: Sequence[Prompt], config: TrialConfig, advance: Callable[[int], object]
    ) -> dict[tuple[str, int], list[int]]:
        """(dialogue, system turn) -> reply, decoded as `config` says; in batches of like length,
        halved when memory runs out. `advance` hears how many are made."""
        waiting = sorted(prompts, key=lambda prompt: -len(prompt[2]))
        made: dict[tuple[str, int], list[int]] = {}
        while waiting:
            batch = waiting[: self.rows_a_batch]
            try:
                replies = self.say(batch, config)
            except torch.OutOfMemoryError:
                if self.rows_a_batch == 1:
                    raise
                self.rows_a_batch //= 2
                give_back_memory()
                continue
            for (dialogue, turn, _), reply in zip(batch, replies, strict=True):
                # behind its end stands padding, which need not be a special token, nor need the end
                made[dialogue, turn] = cut_at(reply, self.task.special.eos)
            waiting = waiting[len(batch) :]
            advance(len(batch))
        return made

    def say(self, prompts: Sequence[Prompt], config: TrialConfig) -> list[list[int]]:
        """The tokens of a reply to each prompt."""
        ids, mask = self.pad([row for _, _, row in prompts], left=True)
        out = self.generate(ids, mask, prompts, config)
        return [row.tolist() for row in out[:, ids.shape[1] :]]

    def generate(
        self, ids: Tensor, mask: Tensor, prompts: Sequence[Prompt], config: TrialConfig
    ) -> Tensor:
        """By transformers' `generate`, from ids and mask [rows, tokens]: [rows, tokens]."""
        special = replace(self.base.special, eos=self.task.special.eos)
        with self.autocast():
            replies: Tensor = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=spell_generation(config, special),
                logits_processor=choose_drawn(config, prompts, self.device),
            )
        return replies
