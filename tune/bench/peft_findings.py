"""What transformers and peft compute with an adapter on a base model as a trial holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainable.corpus.encode import Window
from trainable.engine.slots.task import Task
from trainable.model.base import BaseSpec, load_base
from trainable.model.special_ids import SpecialIds, cut_at
from trainable.trial import TrialConfig
from tune.bench.peft_reference import list_nats

REPLIES = 16  # of a batch


@dataclass
class Tuned:
    model: Any  # peft's
    task: Task
    special: SpecialIds

    @classmethod
    def load(cls, spec: BaseSpec, adapter: Path, task: Task) -> Tuned:
        from peft import PeftModel

        base = load_base(spec)
        model = PeftModel.from_pretrained(base.model, adapter, is_trainable=True)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.eval()
        return cls(model, task, base.special)

    def raise_precision(self) -> None:
        """The same weights, computed with in 32 bits."""
        self.model.float()

    def differentiate(self, windows: Sequence[Window]) -> tuple[Tensor, dict[str, Tensor]]:
        """(each target's loss, the gradient of their sum by peft's names), a dialogue at a time."""
        self.model.zero_grad()
        nats = []
        for window in windows:
            own = list_nats(self.model, window)
            own.sum().backward()
            nats.append(own.detach().float().cpu())
        named = self.model.named_parameters()
        grads = {n.replace(".default", ""): p.grad for n, p in named if p.requires_grad}
        return torch.cat(nats), {name: grad.float().cpu() for name, grad in grads.items()}

    def reply(self, windows: Sequence[Window], config: TrialConfig) -> dict[tuple[str, int], str]:
        """Greedy replies by dialogue and number, in batches padded on the left."""
        asked = [
            ((w.dialogue_id, number), w.ids[:prefix].tolist())
            for w in windows
            for number, prefix in enumerate(w.prompts)
        ]
        asked.sort(key=lambda prompt: len(prompt[1]))
        replies: dict[tuple[str, int], str] = {}
        for start in range(0, len(asked), REPLIES):
            places, prompts = zip(*asked[start : start + REPLIES], strict=True)
            made = self._generate(prompts, config)
            replies |= dict(zip(places, made, strict=True))
        return replies

    @torch.no_grad()
    def _generate(self, prompts: Sequence[list[int]], config: TrialConfig) -> list[str]:
        widest = max(map(len, prompts))
        padded = [[self.special.pad] * (widest - len(ids)) + ids for ids in prompts]
        masks = [[0] * (widest - len(ids)) + [1] * len(ids) for ids in prompts]
        end = self.task.special.eos
        out = self.model.generate(
            input_ids=torch.tensor(padded, device=self.model.device),
            attention_mask=torch.tensor(masks, device=self.model.device),
            do_sample=False,
            max_new_tokens=config.max_new_tokens,
            eos_token_id=end,
            pad_token_id=self.special.pad,
        )
        return [self.task.decode(cut_at(ids, end)) for ids in out[:, widest:].tolist()]
