"""A trial by plain transformers and peft: one dialogue at a time, torch's AdamW, `generate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM

from trainable.corpus.encode import Window
from trainable.engine.slots.data_order import DataOrder
from trainable.model.base import silence_dropout
from trainable.model.positions import forget_lengths
from trainable.model.special_ids import SpecialIds
from trainable.trial import TrialConfig


def list_nats(model: Any, window: Window) -> Tensor:
    """[targets]: each one's loss, by the model as it is."""
    ids = torch.from_numpy(window.ids).long().to(model.device)
    targets = torch.from_numpy(window.targets).to(model.device)
    logits = model(input_ids=ids[None], use_cache=False).logits[0, targets - 1]
    return F.cross_entropy(logits.float(), ids[targets], reduction="none")


class Reference:
    """Raises AssertionError where peft does not take every tensor of the adapter."""

    def __init__(self, config: TrialConfig, adapter: Path, special: SpecialIds) -> None:
        self.config, self.special = config, special
        sizes = AutoConfig.from_pretrained(config.base_model)
        silence_dropout(sizes)
        model: Any = AutoModelForCausalLM.from_pretrained(
            config.base_model, config=sizes, dtype=torch.float32, attn_implementation="eager"
        )
        forget_lengths(model)  # each dialogue's rotary frequencies are its own
        self.model: Any = PeftModel.from_pretrained(model, adapter, is_trainable=True)
        self.started = {name: value.clone() for name, value in self.adapter().items()}

    def adapter(self) -> dict[str, Tensor]:
        state = self.model.state_dict()
        return {name.replace(".default", ""): v for name, v in state.items() if ".lora_" in name}

    def nats(self, window: Window) -> Tensor:
        """[targets]: each one's loss."""
        with torch.no_grad():
            return list_nats(self.model, window)

    def reply(self, prompt: list[int]) -> list[int]:
        with torch.no_grad():
            out = self.model.generate(
                input_ids=torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
                do_sample=False,
                max_new_tokens=self.config.max_new_tokens,
                eos_token_id=self.special.eos,
                pad_token_id=self.special.pad,
            )
        return list(out[0, len(prompt) :].tolist())

    def train(self, windows: list[Window], steps: int) -> None:
        config = self.config
        assert config.batch_turns and config.learning_rate and config.clip_norm
        trained = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=0.0)
        order = DataOrder(windows, config.batch_turns, config.seed)
        for _ in range(steps):
            draws: Sequence[Any] = order.next_step()
            n_targets = sum(len(draw.window.targets) for draw in draws)
            for draw in draws:
                (list_nats(self.model, draw.window).sum() / n_targets).backward()
            torch.nn.utils.clip_grad_norm_(trained, config.clip_norm)
            optimizer.step()
            optimizer.zero_grad()

    def distance(self, found: Mapping[str, Tensor]) -> float:
        """Of an adapter from this one, over how far this one has come. Raises AssertionError where
        they do not have the same tensors."""
        own = self.adapter()
        assert own.keys() == found.keys(), "peft does not take every tensor of the adapter"
        apart = sum(float((found[name] - value).square().sum()) for name, value in own.items())
        moved = sum(float((self.started[n] - v).square().sum()) for n, v in own.items())
        return (apart / max(moved, 1e-30)) ** 0.5
