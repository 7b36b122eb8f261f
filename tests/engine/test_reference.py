"""The fast engine against the plain text of it, and that against peft."""

from pathlib import Path

import pytest
import torch
from test_contract import assert_equal, open_pack, train_with_peft, weights
from tiny_trials import make_config, make_spec
from torch import Tensor

from trainable.engine.pack import Pack
from trainable.engine.reference import Adapter, Reference
from trainable.engine.slots.data_order import DataOrder
from trainable.engine.slots.peft_format import PREFIX
from trainable.model.base import load_base
from trainable.result import ValidationRequest

GOAL = 64  # turns
Trained = tuple[Pack, Reference, list[list[float]]]
UNLIKE = (
    {"lora_rank": 2, "lora_modules": "attention", "averaging": 0.5, "batch_turns": 8},
    {"lora_rank": 8, "lora_modules": "ffn", "weight_decay": 0.1, "clip_norm": 0.1, "rslora": True},
    {"lora_rank": 4, "schedule": "wsd", "decay_fraction": 0.5, "warmup_turns": 16},
    {"lora_plus_ratio": 16.0, "weight_decay": 0.1, "rank_pattern": "attention=6,first-half=2"},
    {"lora_init": "pissa", "neftune_alpha": 5.0, "weight_decay": 0.1, "lora_rank": 3},
    {"dora": True, "weight_decay": 0.1, "lora_modules": "ffn", "averaging": 0.5},
)
# as they are saved -> as the reference calls them
KINDS = {".lora_A.weight": ".A", ".lora_B.weight": ".B", ".lora_magnitude_vector": ".M"}


def copy_adapters(pack: Pack, folder: Path) -> list[Adapter]:
    """The pack's trials as they stand, for the reference."""
    adapters = []
    for key, slot in pack.slots.items():
        saved = weights(pack, key, folder / key)
        matrices = {rename(name): value.t().contiguous() for name, value in saved.items()}
        trained, frozen = split(matrices) if slot.shape.is_pissa else (matrices, {})
        order = slot.task.order(slot.config)
        adapters.append(Adapter(slot.config, order, trained, frozen))
    return adapters


def rename(saved: str) -> str:
    name, kind, ending = saved.removeprefix(PREFIX).rpartition(".lora_")
    return name + KINDS[kind + ending]


def split(matrices: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What a saved PiSSA trains, and what it subtracts."""
    halves = {name: value.chunk(2, dim="BA".index(name[-1])) for name, value in matrices.items()}
    signs = {"A": 1, "B": -1}
    return (
        {name: trained.contiguous() for name, (trained, _) in halves.items()},
        {name: signs[name[-1]] * frozen for name, (_, frozen) in halves.items()},
    )


def to_peft(adapter: Adapter, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As it is saved."""
    joined = dict(weights)
    for name, frozen in adapter.frozen.items():
        sign, axis = (1, 1) if name[-1] == "A" else (-1, 0)
        joined[name] = torch.cat([weights[name], sign * frozen], axis)
    endings = {short: saved for saved, short in KINDS.items()}
    return {
        f"{PREFIX}{name[:-2]}{endings[name[-2:]]}": value.detach().t()
        for name, value in joined.items()
    }


@pytest.fixture
def trained(bases: dict[str, Path], tmp_path: Path) -> Trained:
    """Unlike trials, eight steps, by both; the reference's losses, step by step."""
    folder = bases["llama"]
    pack = open_pack(folder, slots=len(UNLIKE), pass_tokens=300)  # a dialogue or two a pass
    for number, changes in enumerate(UNLIKE):
        config = make_config(folder, seed=number, train_turns=GOAL, **changes)
        pack.join(str(number), config, None)
    model = load_base(make_spec(folder)).model.requires_grad_(False)
    reference = Reference(model, copy_adapters(pack, tmp_path))
    losses = [reference.train_step(GOAL) for _ in range(8)]
    for number, adapter in enumerate(reference.adapters):
        slot = pack.slots[str(number)]
        while slot.steps < adapter.steps:
            slot.goal_turns = GOAL
            pack.train_pass([slot])
    return pack, reference, losses


def test_curves_have_the_reference_s_losses(trained: Trained) -> None:
    """Though a step is several passes, and all are read at once."""
    pack, reference, losses = trained
    pack.broken_slots()
    for number, adapter in enumerate(reference.adapters):
        points = pack.slots[str(number)].curve.points
        assert [p.loss_nats for p in points] == pytest.approx([row[number] for row in losses], 1e-4)
        assert points[-1].turns_seen == adapter.turns_seen
    norms = [[p.gradient_norm for p in slot.curve.points] for slot in pack.slots.values()]
    assert min(map(min, norms)) > 0.1 and norms[0] != norms[1]
    warmed = [p.learning_rate for p in pack.slots["2"].curve.points]
    assert warmed[0] < warmed[2] > warmed[-1]


def test_the_engine_computes_the_reference(trained: Trained, tmp_path: Path) -> None:
    pack, reference, _ = trained
    for key, adapter in zip(pack.slots, reference.adapters, strict=True):
        assert adapter.turns_seen == pack.slots[key].turns_seen
        found = weights(pack, key, tmp_path / f"{key}-trained")
        assert_equal(to_peft(adapter, adapter.average), found, 3e-5)
    averaged, name = reference.adapters[0], "model.layers.0.self_attn.q_proj.B"
    assert not torch.equal(averaged.weights[name], averaged.average[name])
    windows = pack.slots["1"].task.held_out("validation", 2)
    made = pack.generate([(slot, ValidationRequest(2)) for slot in pack.slots.values()])
    for number, slot in enumerate(pack.slots.values()):
        for window in windows:
            for turn, prefix in zip(window.turns, window.prompts, strict=True):
                ids = reference.reply(
                    number, window.ids[:prefix].tolist(), 12, pack.base.special.eos
                )
                expected = slot.task.decode(ids)
                assert made[slot.key][0][window.dialogue_id][turn]["response"] == expected


def test_the_reference_is_peft_and_adamw(bases: dict[str, Path], tmp_path: Path) -> None:
    pack = open_pack(bases["llama"], slots=1)
    config = make_config(bases["llama"], weight_decay=0.1, clip_norm=0.3)
    pack.join("mine", config, None)
    (adapter,) = copy_adapters(pack, tmp_path)
    reference = Reference(load_base(make_spec(bases["llama"])).model, [adapter])
    for _ in range(5):
        reference.train_step(10_000)
    task = pack.slots["mine"].task
    order = DataOrder(task.train, config.batch_turns or 0, config.seed)
    model = load_base(make_spec(bases["llama"])).model
    expected = train_with_peft(model, config, order, tmp_path / "mine", steps=5)
    assert_equal(expected, to_peft(adapter, adapter.weights), 3e-5)
