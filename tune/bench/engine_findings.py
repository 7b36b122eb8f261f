"""What the engine computes with a trained adapter, and how far that is from what peft does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trainable.engine.layers.blocks import Blocks
from trainable.engine.layers.passes import pack_windows
from trainable.engine.pack import Pack
from trainable.engine.slots.peft_format import name_tensors
from trainable.engine.slots.rows import SlotRange
from trainable.engine.slots.slot import Slot
from trainable.engine.train.train_pass import Load
from trainable.result import ValidationRequest

ROUNDING = 1.5  # times peft's own distance from 32 bits, the engine's may be
SLACK_NATS, SLACK_GRADIENT = 1e-4, 1e-3  # beyond that; all that 32 bits have
SIGMAS = 3.0

Place = tuple[str, int]  # dialogue, number of its reply


@dataclass(frozen=True)
class Findings:
    nats: Tensor  # [targets]: each one's loss
    gradient: Mapping[str, Tensor] = field(repr=False)  # of their sum, by peft's names
    replies: Mapping[Place, str] = field(repr=False)


def compute_findings(pack: Pack, mine: Slot, other: Slot, windows: int, dialogues: int) -> Findings:
    """Of the weights that `mine` has in the bank, in passes beside `other`."""
    nats, gradient = differentiate(pack, mine, other, windows)
    made = pack.generate([(slot, ValidationRequest(dialogues)) for slot in (mine, other)])
    replies = {
        (dialogue, number): turn["response"]
        for dialogue, turns in made[mine.key].responses.items()
        for number, turn in enumerate(turns)
    }
    return Findings(nats, gradient, replies)


def differentiate(
    pack: Pack, mine: Slot, other: Slot, windows: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """(each target's loss, the gradient of their sum), of one training pass."""
    pack.gather([mine, other])
    groups = [slot.task.held_out("validation", windows) for slot in (mine, other)]
    tokens = pack_windows(groups, pack.device, pads_to_bucket=pack.pads_to_bucket)
    span, is_mine = SlotRange(0, 2), tokens.target_slots == 0
    weights = torch.zeros(len(tokens.labels), device=pack.device)
    weights[: len(is_mine)] = is_mine.float()
    if isinstance(tokens.layout, Blocks):
        object.__setattr__(tokens, "layout", tokens.layout.place(0, pack.bank.slots))
    load = Load(span, tokens, weights, None, tuple(pack.bank.used_modules(span)))
    nats = pack.add_gradients(load)[: len(is_mine)][is_mine].float().cpu()
    grads = pack.bank.grads[:1].cpu().clone()
    pack.bank.grads.zero_()
    return nats, dict(name_tensors(mine.shape, pack.bank.layout, grads))


def judge(engine: Findings, peft: Findings, exact: Findings) -> dict[str, Any]:
    """Figures, JSON-ready. `exact`: peft in 32 bits, which both are held against."""
    nats = [float((side.nats - exact.nats).abs().mean()) for side in (engine, peft)]
    gradients = [measure_gradient(side.gradient, exact.gradient) for side in (engine, peft)]
    replies = [share_equal(side.replies, exact.replies) for side in (engine, peft)]
    n = len(exact.replies)
    sigma = (2 * replies[1] * (1 - replies[1]) / n) ** 0.5
    is_right = (
        nats[0] <= ROUNDING * nats[1] + SLACK_NATS
        and gradients[0] <= ROUNDING * gradients[1] + SLACK_GRADIENT
        and replies[0] >= replies[1] - SIGMAS * sigma
    )
    return {
        "targets": len(exact.nats),
        "loss_nats": float(exact.nats.mean()),
        "log_p_apart_nats": float((engine.nats - peft.nats).abs().mean()),
        "log_p_error_nats": {"engine": nats[0], "peft": nats[1]},
        "gradient_error": {"engine": gradients[0], "peft": gradients[1]},
        "replies": n,
        "equal_replies": {"engine": replies[0], "peft": replies[1]},
        "equal_replies_apart": share_equal(engine.replies, peft.replies),
        "is_right": is_right,
    }


def measure_gradient(found: Mapping[str, Tensor], exact: Mapping[str, Tensor]) -> float:
    """Distance over the exact one's size. Raises ValueError where the layers are others."""
    if found.keys() != exact.keys():
        odd = sorted(set(found) ^ set(exact))[0]
        raise ValueError(f"the engine and peft do not adapt the same layers: {odd}")
    apart = sum(float((found[name] - exact[name]).square().sum()) for name in exact)
    return float((apart / sum(float(value.square().sum()) for value in exact.values())) ** 0.5)


def share_equal(found: Mapping[Place, str], wanted: Mapping[Place, str]) -> float:
    return sum(found[place] == text for place, text in wanted.items()) / len(wanted)
