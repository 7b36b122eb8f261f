"""The packed engine in plain torch: read this first. The engine computes this, faster.

Many trials share one frozen base model. A batch holds dialogues of all of them, a row each; every
adapted linear layer adds, to the rows of each trial, that trial's own low-rank product:

    y = x W^T + scale_s * (x A_s) B_s         (LoRA, arXiv 2106.09685)

A trial's loss is the mean over the target tokens of its own step, so that nobody's gradient
depends on the other trials; then each trial has its own clipping, AdamW step, rate and running
average.

In the engine the rows are one flat sequence without padding (`layers/attention.py`), the loop over
adapters is one kernel a layer (`layers/lora.py`), all weights of a trial are one row of a bank
(`slots/bank.py`), a pass is a recorded CUDA graph (`train/train_pass.py`), and replies share their
dialogue's prefix (`decode/`). Dropout, whose masks are functions of the token, is there alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from trainable.engine.kernels import BETA1, BETA2, EPSILON
from trainable.engine.layers.noise import Noise, make_row_noise
from trainable.engine.slots.data_order import DataOrder
from trainable.engine.slots.optimizer import average_weight, learning_rate_at
from trainable.trial import TrialConfig


@dataclass
class Adapter:
    """One trial: its matrices by name (`MODULE.A` [in, rank], `MODULE.B` [rank, out]; of a DoRA its
    magnitudes `MODULE.M` [out]), and where it stands."""

    config: TrialConfig
    order: DataOrder
    weights: dict[str, Tensor]
    frozen: dict[str, Tensor] = field(default_factory=dict)  # PiSSA: what `weights` began as
    average: dict[str, Tensor] = field(default_factory=dict)  # what is scored and saved
    moments: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)  # AdamW's two
    steps: int = 0
    turns_seen: int = 0

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            weight.requires_grad_()
            self.moments[name] = torch.zeros_like(weight), torch.zeros_like(weight)
            self.average[name] = weight.detach().clone()


class Reference:
    """Trials over one frozen model. `goal_turns`: of wsd's decay."""

    def __init__(self, model: Any, adapters: Sequence[Adapter]) -> None:
        self.model, self.adapters = model, adapters
        self.row_owners: Tensor = torch.empty(0)  # [rows]: each row's adapter
        self.used: list[Mapping[str, Tensor]] = []  # of each adapter, the weights computed with
        for name in {n.rpartition(".")[0] for adapter in adapters for n in adapter.weights}:
            model.get_submodule(name).register_forward_hook(partial(self._add_adapters, name))
        self.noise: Noise | None = None
        model.get_input_embeddings().register_forward_hook(self._add_noise)

    def _add_adapters(self, name: str, base: Any, inputs: tuple[Tensor, ...], y: Tensor) -> Tensor:
        """y [rows, tokens, out]: the base layer's result."""
        for number, (adapter, weights) in enumerate(zip(self.adapters, self.used, strict=True)):
            if f"{name}.A" in weights:
                is_own = (self.row_owners == number)[:, None, None]
                y = torch.where(is_own, adapt(base, inputs[0], y, name, adapter, weights), y)
        return y

    def _add_noise(self, _: nn.Module, inputs: Any, x: Tensor) -> Tensor:  # [..., width]
        return x if self.noise is None else self.noise.add(x)  # NEFTune, arXiv 2310.05914

    def train_step(self, goal_turns: int) -> list[float]:
        """One optimizer step of every trial, in one pass. Each one's loss in nats a target."""
        steps = [adapter.order.next_step() for adapter in self.adapters]
        rows = [(n, draw) for n, draws in enumerate(steps) for draw in draws]
        ids, mask = pad([torch.from_numpy(draw.window.ids).long() for _, draw in rows])
        is_target, _ = pad([torch.from_numpy(draw.window.is_target) for _, draw in rows])
        self.noise = make_row_noise([(self.adapters[n].config, d) for n, d in rows], ids.device)
        self.row_owners = torch.tensor([number for number, _ in rows])
        self.used = [adapter.weights for adapter in self.adapters]
        logits = self.model(input_ids=ids, attention_mask=mask).logits[:, :-1].flatten(0, 1)
        nats = nn.functional.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none")
        owners = torch.where(is_target[:, 1:], self.row_owners[:, None], -1).flatten()
        losses = [nats[owners == number].mean() for number in range(len(self.adapters))]
        torch.stack(losses).sum().backward()
        for adapter, draws in zip(self.adapters, steps, strict=True):
            update(adapter, goal_turns)
            adapter.steps += 1
            adapter.turns_seen += sum(draw.window.n_turns for draw in draws)
        return [float(loss.detach()) for loss in losses]

    @torch.no_grad()
    def reply(self, number: int, prompt: Sequence[int], max_new_tokens: int, eos: int) -> list[int]:
        """The trial's greedy reply by its averaged weights, up to its end or so many tokens."""
        self.used, self.noise = [adapter.average for adapter in self.adapters], None
        self.row_owners = torch.tensor([number])
        reply: list[int] = []
        while len(reply) < max_new_tokens and (not reply or reply[-1] != eos):
            ids = torch.tensor([[*prompt, *reply]])
            reply.append(int(self.model(input_ids=ids).logits[0, -1].argmax()))
        return reply


def adapt(base: Any, x: Tensor, y: Tensor, name: str, adapter: Adapter, weights: Any) -> Tensor:
    """A layer's output [..., out] with an adapter, of its input x [..., in] and the base's y."""
    a, b = weights[f"{name}.A"], weights[f"{name}.B"]
    scale, own = adapter.config.scale_at(a.shape[1]), x @ a @ b
    if adapter.frozen:  # PiSSA, arXiv 2404.02948
        own = own - x @ adapter.frozen[f"{name}.A"] @ adapter.frozen[f"{name}.B"]
    if f"{name}.M" not in weights:
        return y + scale * own
    norms = (base.weight + scale * (a @ b).T).norm(dim=1).detach()  # DoRA, arXiv 2402.09353
    bias = 0.0 if base.bias is None else base.bias
    return bias + weights[f"{name}.M"] / norms * (y - bias + scale * own)


@torch.no_grad()
def update(adapter: Adapter, goal_turns: int) -> None:
    """Clipping to the trial's own norm, AdamW (arXiv 1711.05101), and the running average."""
    config, step = adapter.config, adapter.steps + 1
    assert config.clip_norm is not None and config.weight_decay is not None
    gradients = {name: w.grad for name, w in adapter.weights.items() if w.grad is not None}
    norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    shrink = (config.clip_norm / (norm + 1e-6)).clamp(max=1.0)
    rate_of_a = learning_rate_at(config, adapter.turns_seen, goal_turns)
    for name, gradient in gradients.items():
        weight, (mean, square) = adapter.weights[name], adapter.moments[name]
        clipped = gradient * shrink
        mean.mul_(BETA1).add_(clipped, alpha=1 - BETA1)
        square.mul_(BETA2).addcmul_(clipped, clipped, value=1 - BETA2)
        ratio = config.lora_plus_ratio or 1.0  # LoRA+, arXiv 2402.12354
        rate = rate_of_a * ratio if name.endswith(".B") else rate_of_a
        weight.mul_(1 - rate * config.weight_decay)
        spread = (square / (1 - BETA2**step)).sqrt() + EPSILON
        weight.sub_(rate * mean / (1 - BETA1**step) / spread)
        weight.grad = None
        share = average_weight(config.averaging or 0.0, step)
        adapter.average[name] += share * (weight - adapter.average[name])


def pad(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows of unlike length as one tensor [rows, longest], zeros behind, and where they are."""
    padded = nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    mask = nn.utils.rnn.pad_sequence([torch.ones(len(r)) for r in rows], batch_first=True)
    return padded, mask
