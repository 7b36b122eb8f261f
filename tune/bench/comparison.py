"""A trial, in the packed engine or alone, beside the same one by plain transformers and peft."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainable.result import ValidationRequest
from trainable.trial import TrialConfig

NEAR_LOG_P = 1e-4  # nats, the largest difference of a target's log probability
NEAR_WEIGHTS = 1e-3  # of the adapter's change, relative
STEPS = 3
RANK = 4


@dataclass(frozen=True, kw_only=True)
class Comparison:
    log_p: float  # largest difference, in nats
    losses: tuple[float, float]  # engine, peft: nats a target token
    replies: tuple[int, int]  # equal, all
    training: float  # relative difference of the adapter after some steps

    @property
    def is_right(self) -> bool:
        is_near = self.log_p < NEAR_LOG_P and self.training < NEAR_WEIGHTS
        return is_near and self.replies[0] == self.replies[1]


def compare(config: TrialConfig, adapter: Path) -> Comparison:
    """A trial beside another one against plain peft. Raises CannotPack as the engine does."""
    from trainable.engine.pack import Pack
    from trainable.model.base import BaseSpec, load_base
    from tune.bench.peft_reference import Reference

    pack = Pack(load_base(BaseSpec.of(config, device="cpu")), slots=2, max_rank=8)
    for number, key in enumerate(("mine", "other")):
        pack.join(key, replace(config, seed=number, lora_rank=RANK + number), None)
        fill_adapter(pack, key)
    pack.copy_state("mine").write(adapter)
    reference = Reference(config, adapter, pack.base.special)
    task = pack.slots["mine"].task
    windows = task.held_out("validation", 3)
    log_p, losses = compare_losses(pack, windows, reference)
    made = pack.generate([(slot, ValidationRequest(3)) for slot in pack.slots.values()])["mine"][0]
    replies = count_equal(made, windows, reference, task)
    training = compare_training(pack, reference)
    return Comparison(log_p=log_p, losses=losses, replies=replies, training=training)


def compare_alone(config: TrialConfig, adapter: Path) -> Comparison:
    """A trial by itself, several dialogues and prompts at a time where its model allows it."""
    import torch
    from safetensors.torch import load_file

    from trainable.solo.choose import open_plain
    from tune.bench.peft_reference import Reference

    finetuner = open_plain(config, "cpu")
    generator = torch.Generator().manual_seed(config.seed)
    with torch.no_grad():
        for name, parameter in finetuner.model.named_parameters():
            if ".lora_B." in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    finetuner.save(adapter)
    reference = Reference(config, adapter, finetuner.base.special)
    task = finetuner.task
    windows = task.held_out("validation", 3)
    with torch.no_grad():
        found = torch.cat([torch.from_numpy(finetuner.passes.list_nats(w)) for w in windows])
    wanted = torch.cat([reference.nats(window) for window in windows])
    replies = count_equal(
        finetuner.generate(ValidationRequest(3)).responses, windows, reference, task
    )
    reference.train(task.train, STEPS)
    while finetuner.steps < STEPS:
        finetuner.train_until(finetuner.turns_seen + 1)
    finetuner.save(adapter)
    training = reference.distance(load_file(adapter / "adapter_model.safetensors"), NEAR_WEIGHTS)
    return Comparison(
        log_p=float((found - wanted).abs().max()),
        losses=(float(found.mean()), float(wanted.mean())),
        replies=replies,
        training=training,
    )


def count_equal(made: Any, windows: Sequence[Any], reference: Any, task: Any) -> tuple[int, int]:
    """(replies that are the reference's, all)"""
    found = [turn["response"] for turns in made.values() for turn in turns]
    by_name = {window.dialogue_id: window for window in windows}
    wanted = [
        task.decode(reference.reply(by_name[name].ids[:prefix].tolist()))
        for name in made
        for prefix in by_name[name].prompts
    ]
    return sum(a == b for a, b in zip(found, wanted, strict=True)), len(wanted)


def fill_adapter(pack: Any, key: str) -> None:
    """B's that are not zero, so that an adapter that is lost shows."""
    import torch

    row, layout = pack.rows.index(key), pack.bank.layout
    slot = pack.slots[key]
    generator = torch.Generator().manual_seed(slot.config.seed)
    for name in slot.shape.modules:
        b = layout.pair(pack.bank.params, name, row)[1][: slot.shape.ranks[name]]
        b.copy_(0.1 * torch.randn(b.shape, generator=generator))
    pack.bank.average[row] = pack.bank.params[row]
    pack.adapters.invalidate()


def compare_losses(
    pack: Any, windows: Sequence[Any], reference: Any
) -> tuple[float, tuple[float, float]]:
    """(largest difference of a target's log probability, mean losses): the windows of one slot
    beside the other's, some of which are longer."""
    import torch

    from trainable.engine.layers.passes import pack_windows
    from trainable.engine.slots.rows import SlotRange
    from trainable.engine.train.loss import TargetLoss

    others = pack.slots["other"].task.train[:3]
    groups = [windows, others] if pack.rows[0] == "mine" else [others, windows]
    tokens = pack_windows(groups, pack.device)
    dtype = pack.base.compute_dtype
    with torch.no_grad():
        pack.adapters.begin_inference(SlotRange(0, 2), tokens.layout, dtype)
        hidden = pack.forward(tokens.ids, tokens.positions, tokens.packing)[0]
        before = hidden[tokens.before_targets]
        ones = torch.ones(len(tokens.labels))
        _, nats = TargetLoss.apply(before, pack.output(), tokens.labels, ones)
    pack.adapters.invalidate()
    found = nats[tokens.target_slots == pack.rows.index("mine")]
    wanted = torch.cat([reference.nats(window) for window in windows])
    largest = float((found - wanted).abs().max())
    return largest, (float(found.mean()), float(wanted.mean()))


def compare_training(pack: Any, reference: Any) -> float:
    slot = pack.slots["mine"]
    reference.train(slot.task.train, STEPS)
    while slot.steps < STEPS:
        for each in pack.slots.values():
            each.goal_turns = each.turns_seen + 1
        pack.train_pass(list(pack.slots.values()))
    return float(reference.distance(pack.copy_state("mine").adapter, NEAR_WEIGHTS))
