"""A trial by plain transformers and peft: one dialogue at a time, torch's AdamW, `generate`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
)

from trainable.corpus.encode import Window
from trainable.engine.check.reference import noisy
from trainable.engine.slots.data_order import DataOrder
from trainable.model.base import silence_dropout
from trainable.model.positions import forget_lengths
from trainable.model.special_ids import SpecialIds
from trainable.trial import TrialConfig

ROUNDING = 2.0**-21  # relative, of embeddings: what 32 bits may round otherwise on their way
ROUNDED = 0.01  # a number of the gradient that moves by more of itself is rounding's
MOST_ROUNDED = 0.1  # of an adapter's numbers


def list_nats(model: Any, window: Window) -> Tensor:
    """[targets]: each one's loss, by the model as it is."""
    ids = torch.from_numpy(window.ids).long().to(model.device)
    if model.config.is_encoder_decoder:
        return torch.cat([score_reply(model, ids, r.start, r.end) for r in window.replies])
    targets = torch.from_numpy(window.targets).to(model.device)
    logits = model(input_ids=ids[None], use_cache=False).logits[0, targets - 1]
    return F.cross_entropy(logits.float(), ids[targets], reduction="none")


def score_reply(model: Any, ids: Tensor, start: int, end: int) -> Tensor:
    """[end - start]: the encoder reads what stands in front, closed as a reply is."""
    source = torch.cat([ids[:start], ids[end - 1 : end]])
    first = torch.tensor([model.config.decoder_start_token_id], device=ids.device)
    before = torch.cat([first, ids[start : end - 1]])
    logits = model(input_ids=source[None], decoder_input_ids=before[None]).logits[0]
    return F.cross_entropy(logits.float(), ids[start:end], reduction="none")


def name_attention(sizes: Any) -> str:
    """transformers' own formula, but where that counts ALiBi's slopes twice, in the mask and in the
    scores (Falcon, as of 5.23): torch's kernel gets them once, as Falcon's authors define it."""
    is_doubled = sizes.model_type == "falcon" and sizes.alibi
    return "sdpa" if is_doubled else "eager"


def is_rounded(gradient: Tensor, other: Tensor) -> Tensor:
    """Of two gradients that rounding parts: where it makes a number, by its own change or by the
    usual one of its weights, as a number may have moved little by chance."""
    apart = (gradient - other).abs()
    usual = apart.median()
    return torch.maximum(apart, usual) > ROUNDED * gradient.abs()


class Reference:
    """Raises AssertionError where peft does not take every tensor of the adapter."""

    def __init__(self, config: TrialConfig, adapter: Path, special: SpecialIds) -> None:
        self.config, self.special = config, special
        sizes = AutoConfig.from_pretrained(config.base_model)
        silence_dropout(sizes)
        kind = AutoModelForSeq2SeqLM if sizes.is_encoder_decoder else AutoModelForCausalLM
        model: Any = kind.from_pretrained(
            config.base_model,
            config=sizes,
            dtype=torch.float32,
            attn_implementation=name_attention(sizes),
        )
        start = model.generation_config.decoder_start_token_id
        model.generation_config = GenerationConfig(decoder_start_token_id=start)
        forget_lengths(model)  # each dialogue's rotary frequencies are its own
        self.model: Any = PeftModel.from_pretrained(model, adapter, is_trainable=True)
        self.started = {name: value.clone() for name, value in self.adapter().items()}
        self.rounded = {name: torch.zeros_like(v).bool() for name, v in self.started.items()}

    def adapter(self) -> dict[str, Tensor]:
        state = self.model.state_dict()
        return {name.replace(".default", ""): v for name, v in state.items() if ".lora_" in name}

    def nats(self, window: Window) -> Tensor:
        """[targets]: each one's loss."""
        with torch.no_grad():
            return list_nats(self.model, window)

    def reply(self, prompt: list[int]) -> list[int]:
        is_decoder = not self.model.config.is_encoder_decoder
        ids = prompt if is_decoder else [*prompt, self.special.eos]
        with torch.no_grad():
            out = self.model.generate(
                input_ids=torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
                do_sample=False,
                max_new_tokens=self.config.max_new_tokens,
                eos_token_id=self.special.eos,
                pad_token_id=self.special.pad,
            )
        return list(out[0, len(ids) if is_decoder else 1 :].tolist())

    def train(self, windows: list[Window], steps: int) -> None:
        config = self.config
        assert config.batch_turns and config.learning_rate and config.clip_norm
        trained = self._trained()
        optimizer = torch.optim.AdamW(trained.values(), lr=config.learning_rate, weight_decay=0.0)
        order = DataOrder(windows, config.batch_turns, config.seed)
        for _ in range(steps):
            draws: Sequence[Any] = order.next_step()
            with noisy(self.model, self.model.device, ROUNDING):
                self._differentiate(draws)
            others = {name: p.grad.clone() for name, p in trained.items() if p.grad is not None}
            self._differentiate(draws)
            for name, other in others.items():
                self.rounded[name] |= is_rounded(trained[name].grad, other)
            torch.nn.utils.clip_grad_norm_(trained.values(), config.clip_norm)
            optimizer.step()

    def _trained(self) -> dict[str, Any]:
        named = self.model.named_parameters()
        return {name.replace(".default", ""): p for name, p in named if p.requires_grad}

    def _differentiate(self, draws: Sequence[Any]) -> None:
        """The gradient of a step's mean loss, into the adapter's parameters."""
        self.model.zero_grad()
        n_targets = sum(len(draw.window.targets) for draw in draws)
        for draw in draws:
            (list_nats(self.model, draw.window).sum() / n_targets).backward()

    def distance(self, found: Mapping[str, Tensor], near: float = 0.0) -> float:
        """Of an adapter from this one, over how far this one has come. AdamW divides a number of
        the gradient by its own size, so that where rounding makes it, the step is anybody's: such
        numbers are left out where the adapters are not `near` with them. Raises AssertionError
        where they are many, or the two do not have the same tensors."""
        own = self.adapter()
        assert own.keys() == found.keys(), "peft does not take every tensor of the adapter"
        whole = self._distance(own, found, {n: torch.ones_like(v).bool() for n, v in own.items()})
        if whole <= near:
            return whole
        left_out = torch.cat([part.flatten() for part in self.rounded.values()])
        assert left_out.float().mean() < MOST_ROUNDED, "rounding alone makes the gradient"
        return self._distance(own, found, {name: ~part for name, part in self.rounded.items()})

    def _distance(
        self, own: Mapping[str, Tensor], found: Mapping[str, Tensor], counts: Mapping[str, Tensor]
    ) -> float:
        apart = moved = 0.0
        for name, value in own.items():
            apart += float((found[name] - value)[counts[name]].square().sum())
            moved += float((self.started[name] - value)[counts[name]].square().sum())
        return (apart / max(moved, 1e-30)) ** 0.5
