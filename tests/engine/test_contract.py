"""The engine's contract (design, section 5): a trial's results do not depend on its neighbours.

L0 isolation to the bit, L1 equality with peft and torch's AdamW, L2 independence of the pack, of
joining late, parking and migrating, L5 decoding equal to `generate`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file
from tiny_trials import make_config, make_spec
from torch import Tensor
from transformers import PreTrainedModel

from trainable.engine.pack import Pack
from trainable.engine.slots.data_order import DataOrder
from trainable.engine.slots.slot import SlotState
from trainable.model.base import load_base
from trainable.result import ValidationRequest
from trainable.trial import TrialConfig

MIXED: list[dict[str, Any]] = [
    {"lora_rank": 2, "lora_modules": "attention", "learning_rate": 2e-3, "batch_turns": 4},
    {"lora_rank": 16, "lora_modules": "all-linear", "alpha_over_rank": 0.5, "clip_norm": 0.1},
    {"lora_rank": 8, "lora_modules": "ffn", "rslora": True, "batch_turns": 20, "weight_decay": 0.1},
    {"lora_plus_ratio": 8.0, "weight_decay": 0.1, "train_share": 0.1},
    {"rank_pattern": "every-second=2,attention=6", "rslora": True, "lora_rank": 3},
    {"lora_layers": "last-half", "lora_rank": 5},
]


@pytest.fixture(params=["llama", "neox"])
def base_folder(request: pytest.FixtureRequest, bases: dict[str, Path]) -> Path:
    return bases[request.param]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def open_pack(folder: Path, slots: int, pass_tokens: int = 2048) -> Pack:
    return Pack(load_base(make_spec(folder)), slots, max_rank=16, pass_tokens=pass_tokens)


def train(pack: Pack, turns: dict[str, int]) -> None:
    """All trials to their goals, together as long as they have not reached them."""
    for key, goal in turns.items():
        pack.aim(key, goal)
    while busy := [pack.slots[key] for key in turns if pack.slots[key].is_training]:
        pack.train_pass(busy)


def weights(pack: Pack, key: str, folder: Path) -> dict[str, Tensor]:
    pack.copy_state(key).write(folder)
    return load_file(folder / "adapter_model.safetensors")


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float) -> None:
    """Relative to each matrix's norm: AdamW divides by the root of small second moments, so that
    single numbers whose gradient is all rounding error differ more."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert float((other[name] - value).norm()) <= tolerance * float(value.norm()), name


def open_optimizer(model: Any, config: TrialConfig) -> torch.optim.Optimizer:
    """AdamW by torch, or LoRA+ by peft."""
    rates = {"lr": config.learning_rate or 0.0}
    if config.lora_plus_ratio is None:
        trained = [p for p in model.parameters() if p.requires_grad]
        return torch.optim.AdamW(trained, **rates, weight_decay=config.weight_decay or 0.0)
    rates |= {"loraplus_lr_ratio": config.lora_plus_ratio}
    decay = {"loraplus_weight_decay": config.weight_decay}
    return create_loraplus_optimizer(model, torch.optim.AdamW, **rates, **decay)


def train_with_peft(
    model: PreTrainedModel, config: TrialConfig, order: DataOrder, adapter: Path, steps: int
) -> dict[str, Tensor]:
    """The reference: peft, torch's AdamW and clipping, one dialogue at a time, mean over a step."""
    peft_model = PeftModel.from_pretrained(model, adapter, is_trainable=True)
    trained = [p for p in peft_model.parameters() if p.requires_grad]
    optimizer = open_optimizer(peft_model, config)
    for _ in range(steps):
        draws = order.next_step()
        n_targets = sum(int(draw.window.is_target.sum()) for draw in draws)
        for draw in draws:
            ids = torch.from_numpy(draw.window.ids).long()[None]
            labels = ids.masked_fill(~torch.from_numpy(draw.window.is_target)[None], -100)
            logits = peft_model(input_ids=ids).logits[:, :-1].flatten(0, 1)
            loss = torch.nn.functional.cross_entropy(
                logits, labels[:, 1:].flatten(), reduction="sum", ignore_index=-100
            )
            (loss / n_targets).backward()
        torch.nn.utils.clip_grad_norm_(trained, config.clip_norm or math.inf)
        optimizer.step()
        optimizer.zero_grad()
    state = peft_model.state_dict()
    return {
        name.replace(".default", ""): value for name, value in state.items() if ".lora_" in name
    }


@pytest.mark.slow
def test_l1_a_slot_equals_solo_peft(base_folder: Path, tmp_path: Path) -> None:
    """Fifty steps in fp32 of unlike trials in one pack, each against peft by itself. All
    slots take a pass at a time, so those with small batches make more steps: the goal is steps."""
    pack = open_pack(base_folder, slots=len(MIXED), pass_tokens=1024)
    configs = {str(i): make_config(base_folder, seed=i, **each) for i, each in enumerate(MIXED)}
    for key, config in configs.items():
        pack.join(key, config, None)
        pack.copy_state(key).write(tmp_path / key)
    while busy := [slot for slot in pack.slots.values() if slot.steps < 50]:
        for slot in busy:
            slot.goal_turns = slot.turns_seen + 1
        pack.train_pass(busy)
    for key, config in configs.items():
        task = pack.slots[key].task
        order = task.order(config)
        model = load_base(make_spec(base_folder)).model
        expected = train_with_peft(model, config, order, tmp_path / key, steps=50)
        assert_equal(expected, weights(pack, key, tmp_path / f"{key}-trained"), 3e-5)


def test_l0_a_neighbour_changes_no_bit(base_folder: Path, tmp_path: Path) -> None:
    """Same pack shape, another neighbour: an ordinary one, and one whose weights are NaN."""
    results = []
    for spoil in (False, True):
        pack = open_pack(base_folder, slots=2)
        pack.join("mine", make_config(base_folder, seed=1, lora_dropout=0.1), None)
        pack.join("other", make_config(base_folder, seed=2), None)
        if spoil:
            pack.bank.params[pack.rows.index("other")] = float("nan")
        train(pack, {"mine": 60, "other": 60})
        made = pack.generate([(slot, ValidationRequest(3)) for slot in pack.slots.values()])
        results.append((weights(pack, "mine", tmp_path / str(spoil)), made["mine"]))
        assert [slot.key for slot in pack.broken_slots()] == (["other"] if spoil else [])
    (clean, clean_made), (spoilt, spoilt_made) = results
    assert all(torch.equal(value, spoilt[name]) for name, value in clean.items())
    assert clean_made == spoilt_made


@pytest.mark.parametrize("neighbours", [2, 7])
def test_l2_dropout_and_order_do_not_depend_on_the_pack(
    bases: dict[str, Path], tmp_path: Path, neighbours: int
) -> None:
    """Alone, beside neighbours, and joining late: the same trial up to rounding."""
    folder = bases["llama"]
    config = make_config(folder, seed=5, lora_dropout=0.3, batch_turns=12)
    alone = open_pack(folder, slots=1)
    alone.join("mine", config, None)
    train(alone, {"mine": 60})
    expected = weights(alone, "mine", tmp_path / "alone")
    crowd = open_pack(folder, slots=neighbours + 1)
    others = {f"other{i}": 40 + 10 * i for i in range(neighbours)}
    for i, key in enumerate(others):
        crowd.join(key, make_config(folder, seed=20 + i, lora_rank=2 + i), None)
    train(crowd, dict.fromkeys(others, 20))
    crowd.join("mine", config, None)
    train(crowd, {**others, "mine": 60})
    assert_equal(expected, weights(crowd, "mine", tmp_path / "crowd"), 1e-5)


def test_l2_parked_resumed_and_migrated(bases: dict[str, Path], tmp_path: Path) -> None:
    """Saved half-way, resumed in another engine beside a stranger, and saved again."""
    folder = bases["llama"]
    shape = {"lora_dropout": 0.3, "schedule": "cosine", "averaging": 0.3}
    config = make_config(folder, seed=5, train_turns=80, **shape)
    alone = open_pack(folder, slots=1)
    alone.join("mine", config, None)
    train(alone, {"mine": 40})
    alone.copy_state("mine").write(tmp_path / "half")
    train(alone, {"mine": 80})
    elsewhere = open_pack(folder, slots=2)
    elsewhere.join("stranger", make_config(folder, seed=9), None)
    elsewhere.join("mine", config, SlotState.read(tmp_path / "half"))
    assert elsewhere.slots["mine"].steps < alone.slots["mine"].steps
    train(elsewhere, {"stranger": 40, "mine": 80})
    assert elsewhere.slots["mine"].steps == alone.slots["mine"].steps
    expected = weights(alone, "mine", tmp_path / "whole")
    assert_equal(expected, weights(elsewhere, "mine", tmp_path / "moved"), 1e-5)


def test_resumed_equals_uninterrupted_to_the_bit(bases: dict[str, Path], tmp_path: Path) -> None:
    config = make_config(bases["llama"], lora_dropout=0.1, averaging=0.3)
    whole = open_pack(bases["llama"], slots=1)
    whole.join("mine", config, None)
    train(whole, {"mine": 40})
    whole.meter.read()
    whole.copy_state("mine").write(tmp_path / "half")
    train(whole, {"mine": 80})
    resumed = open_pack(bases["llama"], slots=1)
    resumed.join("mine", config, SlotState.read(tmp_path / "half"))
    train(resumed, {"mine": 80})
    curves = []
    for pack in (whole, resumed):
        pack.meter.read()
        points = pack.slots["mine"].curve.points
        curves.append([(p.steps, p.turns_seen, f"{p.loss_nats:.4f}") for p in points])
    assert curves[0] == curves[1] and curves[0][-1][0] == whole.slots["mine"].steps
    for name in ("adapter_model.safetensors", "optimizer.safetensors"):
        whole.copy_state("mine").write(tmp_path / "whole")
        resumed.copy_state("mine").write(tmp_path / "resumed")
        expected, found = (load_file(tmp_path / each / name) for each in ("whole", "resumed"))
        assert all(torch.equal(value, found[key]) for key, value in expected.items())


def test_the_average_is_what_is_scored_and_saved(bases: dict[str, Path], tmp_path: Path) -> None:
    """Of the weights after every step, by the formula; nothing else of the trial changes."""
    pack = open_pack(bases["llama"], slots=2)
    pack.join("mean", make_config(bases["llama"], averaging=0.5), None)
    pack.join("last", make_config(bases["llama"]), None)
    start = pack.bank.average[0].clone()
    assert torch.equal(start, pack.bank.params[0])  # of an untrained trial: what it starts from
    averaged = start
    for step in range(1, 9):
        train(pack, {key: slot.turns_seen + 1 for key, slot in pack.slots.items()})
        assert pack.slots["mean"].steps == step
        averaged = averaged + min(1.0, 2 / step) * (pack.bank.params[0] - averaged)
    assert torch.equal(pack.bank.params[0], pack.bank.params[1])
    assert torch.equal(pack.bank.average[1], pack.bank.params[1])
    assert torch.allclose(pack.bank.average[0], averaged, rtol=1e-5, atol=1e-7)
    assert not torch.allclose(pack.bank.average[0], pack.bank.params[0], rtol=1e-3)
    saved = {key: weights(pack, key, tmp_path / key) for key in ("mean", "last")}
    plain = open_pack(bases["llama"], slots=1)
    for key, adapter in (("mean", tmp_path / "mean"), ("last", tmp_path / "last")):
        plain.join(key, make_config(bases["llama"], adapter=str(adapter)), None)
        assert_equal(saved[key], weights(plain, key, tmp_path / f"{key}-alone"), 0)
        alone = plain.generate([(plain.slots[key], ValidationRequest(2))])[key]
        made = pack.generate([(pack.slots[key], ValidationRequest(2))])[key]
        assert made[0] == alone[0]
        assert made[1].loss_nats == pytest.approx(alone[1].loss_nats, rel=1e-5)
        plain.leave(key)


@pytest.mark.slow
def test_a_milestone_of_wsd_is_a_branch_off_one_stable_run(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    """Each is, to the bit, the run of that length: also after a resume, and in a longer trial."""
    decaying = {"schedule": "wsd", "decay_fraction": 0.4, "warmup_turns": 16, "averaging": 0.2}
    through = open_pack(bases["llama"], slots=1)
    through.join("mine", make_config(bases["llama"], train_turns=120, **decaying), None)
    train(through, {"mine": 60})
    through.copy_state("mine").write(tmp_path / "60")
    train(through, {"mine": 120})
    found = weights(through, "mine", tmp_path / "through")
    config = make_config(bases["llama"], train_turns=60, **decaying)
    short = open_pack(bases["llama"], slots=1)
    short.join("mine", config, None)
    train(short, {"mine": 60})
    half = load_file(tmp_path / "60" / "adapter_model.safetensors")
    assert_equal(half, weights(short, "mine", tmp_path / "short"), 0)
    assert any(not torch.equal(value, half[name]) for name, value in found.items())
    constant = open_pack(bases["llama"], slots=1)
    flat = {**decaying, "schedule": "constant", "decay_fraction": None}
    constant.join("mine", make_config(bases["llama"], **flat), None)
    train(constant, {"mine": short.slots["mine"].stable_run.trainer["turns_seen"]})  # type: ignore[union-attr]
    stable = load_file(tmp_path / "60" / "trunk" / "adapter_model.safetensors")
    assert_equal(stable, weights(constant, "mine", tmp_path / "constant"), 0)
    again = open_pack(bases["llama"], slots=1)
    again.join("mine", replace(config, train_turns=120), SlotState.read(tmp_path / "60"))
    assert again.slots["mine"].turns_seen >= 60
    train(again, {"mine": 120})
    assert_equal(found, weights(again, "mine", tmp_path / "again"), 0)
    again.meter.read()
    steps = [point.steps for point in again.slots["mine"].curve.points]
    assert steps == [*range(1, again.slots["mine"].steps + 1)]  # the last branch, nothing twice
    straight = open_pack(bases["llama"], slots=1)
    straight.join("mine", make_config(bases["llama"], train_turns=120, **decaying), None)
    train(straight, {"mine": 120})
    assert_equal(found, weights(straight, "mine", tmp_path / "straight"), 0)
    assert straight.slots["mine"].tokens_seen < through.slots["mine"].tokens_seen


def test_an_end_that_may_not_come_yet_is_never_all_that_is_left(bases: dict[str, Path]) -> None:
    """min_new_tokens with a sampling that keeps one token: it is never the end's."""
    pack = open_pack(bases["llama"], slots=1)
    sampled = {"decoding": "sampling", "top_k": 1, "min_new_tokens": 6, "max_new_tokens": 6}
    pack.join("mine", make_config(bases["llama"], **sampled), None)
    slot = pack.slots["mine"]
    with torch.no_grad():
        weight = pack.output().weight
        weight[pack.base.special.eos] = 50 * weight.sum(0)  # the end wherever it may
    greedy = {"min_new_tokens": 6, "max_new_tokens": 6}
    pack.slots["mine"].config = make_config(bases["llama"], **greedy)
    likeliest = pack.generate([(slot, ValidationRequest(2))])["mine"][0]
    pack.slots["mine"].config = make_config(bases["llama"], **sampled)
    assert pack.generate([(slot, ValidationRequest(2))])["mine"][0] == likeliest


def test_l5_decoding_equals_generate(base_folder: Path, tmp_path: Path) -> None:
    """Two adapters decoded together, greedily, against transformers' `generate` turn by turn."""
    pack = open_pack(base_folder, slots=2)
    shaped = {"repetition_penalty": 1.3, "placeholder_bias": 2.0}
    for key, changes in (("a", MIXED[1]), ("b", MIXED[2] | shaped)):
        pack.join(key, make_config(base_folder, **changes), None)
    train(pack, {"a": 60, "b": 60})
    made = pack.generate([(slot, ValidationRequest(4)) for slot in pack.slots.values()])
    for key, slot in pack.slots.items():
        pack.copy_state(key).write(tmp_path / key)
        base = load_base(make_spec(base_folder))
        model = PeftModel.from_pretrained(base.model, tmp_path / key).eval()
        for window in slot.task.held_out("validation", 4):
            for turn, prefix in zip(window.turns, window.prompts, strict=True):
                ids = torch.from_numpy(window.ids[:prefix]).long()[None]
                out = model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=slot.config.max_new_tokens,
                    do_sample=False,
                    repetition_penalty=slot.config.repetition_penalty,
                    sequence_bias=base.special.spell_bias(slot.config.placeholder_bias),
                    eos_token_id=base.special.eos,
                    pad_token_id=base.special.pad,
                )
                expected = slot.task.decode(out[0, prefix:].tolist())
                assert made[key][0][window.dialogue_id][turn]["response"] == expected


def test_each_of_unlike_numbers_of_replies_is_its_own_adapter_s(bases: dict[str, Path]) -> None:
    """Decoded together as alone, whichever slot has more of them."""
    pack = open_pack(bases["llama"], slots=3)
    for seed, key in enumerate("abc"):
        pack.join(key, make_config(bases["llama"], seed=seed), None)
    pack.bank.params.normal_(std=0.3)
    pack.bank.average.copy_(pack.bank.params)
    asked = [
        (pack.slots[key], ValidationRequest(n)) for key, n in zip("abc", (1, 4, 2), strict=True)
    ]
    alone = [pack.generate([each])[each[0].key] for each in asked]
    together = pack.generate(asked)
    assert [together[key][0] for key in "abc"] == [replies for replies, _ in alone]
    assert [together[key][1] for key in "abc"] == pytest.approx([nats for _, nats in alone])
    assert len({str(next(iter(replies.values()))) for replies, _ in alone}) == 3


def test_sampled_replies_do_not_depend_on_their_batch(bases: dict[str, Path]) -> None:
    sampled = {"decoding": "sampling", "temperature": 1.0, "top_p": 0.9}
    config = make_config(bases["llama"], **sampled)
    alone = open_pack(bases["llama"], slots=1)
    alone.join("mine", config, None)
    few = alone.generate([(alone.slots["mine"], ValidationRequest(3))])["mine"][0]
    crowd = open_pack(bases["llama"], slots=3)
    crowd.join("other", make_config(bases["llama"], seed=3, **sampled), None)
    crowd.join("mine", config, None)
    crowd.join("greedy", make_config(bases["llama"]), None)
    many = crowd.generate([(slot, ValidationRequest(8)) for slot in crowd.slots.values()])
    assert all(many["mine"][0][name] == turns for name, turns in few.items())
    assert many["mine"][0] != many["other"][0]
