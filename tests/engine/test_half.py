"""fp16 without bf16: loss scaling a slot, and the contract of the other types kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_trials import make_config

from trainable.engine.layers.scores import ScoreRules
from trainable.engine.pack import Pack
from trainable.engine.slots.loss_scale import INITIAL, LOWEST, SCALE, SKIPPED_STEPS
from trainable.engine.slots.slot import SlotState
from trainable.model.base import BaseSpec, load_base
from trainable.model.precision import pick_compute_dtype
from trainable.trial import ConfigError, TrialConfig

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOO_HIGH = 2.0**28  # a scale under which these models' gradients are not finite
FP16 = {"quantisation": "bf16", "compute": "fp16", "batch_turns": 2}


def open_pack(configs: dict[str, TrialConfig], slots: int) -> Pack:
    spec = BaseSpec.of(next(iter(configs.values())), device=DEVICE)
    pack = Pack(load_base(spec), slots, max_rank=16, pass_tokens=2048)
    for key, config in configs.items():
        pack.join(key, config, None)
    return pack


def train(pack: Pack, steps: int) -> None:
    while waiting := [slot for slot in pack.slots.values() if slot.steps < steps]:
        pack.train_pass(waiting)


def scaling_of(pack: Pack, key: str) -> torch.Tensor:
    return pack.bank.scaling[pack.rows.index(key)]


@pytest.mark.parametrize(
    ("capability", "quantisation", "compute", "wanted"),
    [
        ((7, 5), "nf4", "auto", torch.float16),
        ((7, 5), "bf16", "auto", torch.float16),
        ((7, 5), "fp32", "auto", torch.float32),
        ((8, 0), "nf4", "auto", torch.bfloat16),
        ((9, 0), "nf4", "fp16", torch.float16),
        ((9, 0), "nf4", "fp32", torch.float32),
    ],
)
def test_a_card_without_bf16_computes_in_fp16(
    capability: tuple[int, int],
    quantisation: str,
    compute: str,
    wanted: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)  # as a T4 says
    assert pick_compute_dtype(quantisation, compute, torch.device("cuda")) == wanted


@pytest.mark.parametrize(("quantisation", "compute"), [("fp32", "fp16"), ("bf16", "fp32")])
def test_weights_that_are_not_quantised_compute_in_their_own_bits(
    quantisation: str, compute: str
) -> None:
    with pytest.raises(ConfigError, match=f"compute={compute} does not fit"):
        TrialConfig(method="none", quantisation=quantisation, compute=compute)


@pytest.mark.slow
def test_a_neighbour_s_overflow_skips_its_own_step_alone(bases: dict[str, Path]) -> None:
    """Scaled far too high, one slot's gradients are not finite: it lowers its scale and steps then,
    as if those steps had not been; no bit of the other's changes. A NaN ends its trial."""
    weights = []
    for scale, poison in ((INITIAL, 1.0), (TOO_HIGH, 1.0), (4 * LOWEST, float("nan"))):
        seeds = {"mine": 1, "other": 2}
        configs = {key: make_config(bases["llama"], seed=s, **FP16) for key, s in seeds.items()}
        pack = open_pack(configs, slots=2)
        scaling_of(pack, "other")[SCALE] = scale
        pack.bank.params[pack.rows.index("other")] *= poison
        train(pack, 5)
        weights.append(pack.bank.params[pack.rows.index("mine")].clone())
        broken = [slot.key for slot in pack.broken_slots()]
        assert broken == (["other"] if poison != 1.0 else [])
        skipped = int(scaling_of(pack, "other")[SKIPPED_STEPS])
        assert (skipped == 0) == (scale == INITIAL and poison == 1.0)
        assert (float(scaling_of(pack, "other")[SCALE]) == LOWEST) == (poison != 1.0)
        if poison == 1.0:
            assert torch.isfinite(pack.bank.params).all()
    assert torch.equal(weights[0], weights[1]) and torch.equal(weights[0], weights[2])


def test_a_skipped_step_is_none_of_adamw_s(bases: dict[str, Path]) -> None:
    """After it the bias corrections are those of the first step: with a constant rate and no weight
    decay AdamW's first step is the rate itself, wherever there is a gradient."""
    config = make_config(bases["llama"], clip_norm=1e6, **FP16)
    pack = open_pack({"mine": config}, slots=1)
    before = pack.bank.params[0].clone()
    scaling_of(pack, "mine")[SCALE] = TOO_HIGH
    while torch.equal(pack.bank.params[0], before):
        train(pack, pack.slots["mine"].steps + 1)
    assert int(scaling_of(pack, "mine")[SKIPPED_STEPS]) == pack.slots["mine"].steps - 1 > 0
    moved = (pack.bank.params[0] - before).abs()
    assert float(moved.max()) == pytest.approx(config.learning_rate or 0.0, rel=1e-3)


def test_in_fp16_resumed_equals_uninterrupted_to_the_bit(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    """Its scale among what is kept."""
    config = make_config(bases["llama"], averaging=0.3, **FP16)
    whole = open_pack({"mine": config}, slots=1)
    scaling_of(whole, "mine")[SCALE] = TOO_HIGH
    train(whole, 5)
    whole.copy_state("mine").write(tmp_path / "half")
    assert int(scaling_of(whole, "mine")[SKIPPED_STEPS]) > 0
    resumed = open_pack({"mine": config}, slots=1)
    resumed.leave("mine")
    resumed.join("mine", config, SlotState.read(tmp_path / "half"))
    for pack in (whole, resumed):
        train(pack, 8)
    assert torch.equal(scaling_of(whole, "mine"), scaling_of(resumed, "mine"))
    for name in ("adapter_model.safetensors", "optimizer.safetensors"):
        whole.copy_state("mine").write(tmp_path / "whole")
        resumed.copy_state("mine").write(tmp_path / "resumed")
        expected, found = (load_file(tmp_path / each / name) for each in ("whole", "resumed"))
        assert all(torch.equal(value, found[key]) for key, value in expected.items())


@pytest.mark.slow
@pytest.mark.parametrize("quantisation", ["bf16", "nf4"])
def test_in_fp16_a_slot_learns_what_it_learns_in_fp32(
    bases: dict[str, Path], quantisation: str
) -> None:
    curves: list[list[float]] = []
    double = True if quantisation == "nf4" else None
    others: dict[str, Any] = {"fp16": quantisation, "fp32": "nf4" if double else "fp32"}
    for compute, held in others.items():
        changes = {"quantisation": held, "double_quantisation": double, "compute": compute}
        config = make_config(bases["llama"], lora_dropout=0.1, learning_rate=1e-2, **changes)
        pack = open_pack({"mine": config}, slots=1)
        train(pack, 8)
        pack.meter.read()
        curves.append([point.loss_nats for point in pack.slots["mine"].curve.points])
    (half, whole) = curves
    assert half == pytest.approx(whole, rel=0.01) and whole[-1] < 0.95 * whole[0]


def test_products_of_long_heads_do_not_overflow_in_fp16() -> None:
    """Their sum, 128 * 40 * 40, is above 65504; scaled it is not."""
    query = torch.full((1, 2, 1, 128), 40.0, dtype=torch.float16)
    keys = torch.full((1, 1, 3, 128), 40.0, dtype=torch.float16)
    seen = torch.ones(1, 1, 1, 1, 3, dtype=torch.bool)
    values = torch.arange(3, dtype=torch.float16).repeat(128, 1).T[None, None]
    out = ScoreRules(scale=128**-0.5).attend(query, keys, values, seen)
    assert torch.equal(out, torch.ones_like(out))
