"""A frozen base held in FP8, by its plain formula on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_trials import make_config
from torch import Tensor, nn

from trainable.engine.pack import Pack
from trainable.model.base import Base, BaseSpec, load_base
from trainable.model.fp8 import (
    Fp8Linear,
    check_device,
    join,
    multiply,
    multiply_back,
    quantise_rows,
    read_weight,
)
from trainable.result import ValidationRequest
from trainable.trial import ConfigError, TrialConfig
from tune.bench.tiny_models import write_model

FP8 = {"quantisation": "bf16", "base_products": "fp8"}


def make_layers() -> list[Fp8Linear]:
    torch.manual_seed(0)
    spread = torch.rand(48, 1)
    return [
        Fp8Linear(torch.randn(48, 32) * spread, torch.randn(48)),
        Fp8Linear(torch.randn(16, 32) * 30, None),
    ]


def test_a_token_is_its_own_scale_and_zeros_stay_zeros() -> None:
    x = torch.randn(5, 64) * torch.tensor([[1e-6], [1.0], [1e6], [0.0], [1e-35]])
    values, scales = quantise_rows([x])
    torch.testing.assert_close(values.float() * scales, x, rtol=2**-4, atol=1e-29)
    assert values.float().abs().amax(1)[:3].tolist() == [448.0] * 3
    assert not values[3].float().any() and scales.isfinite().all()
    for row in range(5):
        alone, scale = quantise_rows([x[row : row + 1]])
        assert torch.equal(alone[0].float(), values[row].float()) and scale[0] == scales[row]
    assert quantise_rows([torch.tensor([[1.0, float("nan")]])])[0].float().isnan().any()


def test_products_are_near_those_of_32_bits() -> None:
    """e4m3 has three bits behind the point: each side is off by at most a sixteenth."""
    first, other = make_layers()
    x = torch.randn(40, 32)
    for layer, y in zip((first, other), multiply([first, other], x), strict=True):
        wanted = nn.functional.linear(x, read_weight(layer), layer.bias)
        assert (y - wanted).norm() < 0.04 * wanted.norm()


@pytest.mark.parametrize("is_joined", [False, True])
def test_the_way_back_is_the_gradient_of_what_was_computed(is_joined: bool) -> None:
    """Of the same 8-bit weights: up to the rounding of the incoming gradient."""
    layers = make_layers()
    if is_joined:
        join(layers)
    grads = [torch.randn(40, layer.out_features) for layer in layers]
    each = [g @ read_weight(layer) for g, layer in zip(grads, layers, strict=True)]
    for layer, grad, wanted in zip(layers, grads, each, strict=True):
        assert (multiply_back([layer], [grad]) - wanted).norm() < 0.04 * wanted.norm()
    if is_joined:
        assert (multiply_back(layers, grads) - sum(each)).norm() < 0.04 * sum(each).norm()  # type: ignore[union-attr]
    x = torch.randn(3, 7, 32, requires_grad=True)
    weights = torch.randn(3, 7, 48)
    (layers[0](x) * weights).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad.flatten(0, 1), multiply_back(layers[:1], [weights.flatten(0, 1)]))


def open_base(folder: Path, **changes: object) -> Base:
    config = make_config(folder, **{**FP8, **changes})
    return load_base(BaseSpec.of(config, device="cpu"))


def train_beside(folder: Path, rate: float) -> tuple[list[float], Tensor]:
    """Losses and last weights of a trial beside one that learns the same at another rate."""
    pack = Pack(open_base(folder), slots=2, max_rank=4)
    mine = make_config(folder, **FP8, lora_dropout=0.1)
    pack.join("mine", mine, None)
    pack.join("other", replace(mine, learning_rate=rate, lora_rank=2, clip_norm=1e6), None)
    for _ in range(6):
        pack.train_pass(list(pack.slots.values()))
    pack.meter.read()
    losses = [point.loss_nats for point in pack.slots["mine"].curve.points]
    return losses, pack.bank.params[pack.rows.index("mine")].clone()


@pytest.mark.slow
def test_no_trial_changes_its_neighbour(bases: dict[str, Path]) -> None:
    """Bit for bit, though numbers of the other's explode: a scale of a tensor would be its."""
    losses, weights = train_beside(bases["llama"], 1e-3)
    others, same = train_beside(bases["llama"], 10.0)
    assert len(losses) == 6 and losses == others
    assert torch.equal(weights, same)


@pytest.mark.slow
def test_every_knob_learns_and_replies(bases: dict[str, Path]) -> None:
    """DoRA's norms and PiSSA's components are of the values that are multiplied."""
    knobs: list[dict[str, object]] = [
        {"dora": True, "lora_modules": "qv", "lora_dropout": 0.1},
        {"lora_init": "pissa", "lora_modules": "ffn"},
        {"neftune_alpha": 5.0, "batch_turns": 16},
    ]
    pack = Pack(open_base(bases["llama"]), slots=len(knobs), max_rank=8)
    for number, each in enumerate(knobs):
        pack.join(
            str(number), make_config(bases["llama"], **{**FP8, "learning_rate": 0.01, **each}), None
        )
    for _ in range(30):
        pack.train_pass(list(pack.slots.values()))
    assert not pack.broken_slots()
    for slot in pack.slots.values():
        points = slot.curve.points
        assert points[-1].loss_nats < points[0].loss_nats - 0.3
    made = pack.generate([(slot, ValidationRequest(2)) for slot in pack.slots.values()])
    assert all(replies for replies, _ in made.values())


@pytest.mark.slow
def test_its_loss_is_near_that_of_a_plain_base(bases: dict[str, Path]) -> None:
    """Where gate and up, which are joined, have no adapters."""
    losses = []
    for products in ("compute", "fp8"):
        pack = Pack(open_base(bases["llama"], base_products=products), slots=1, max_rank=4)
        pack.join(
            "one",
            make_config(
                bases["llama"], **{**FP8, "base_products": products}, lora_modules="attention"
            ),
            None,
        )
        for _ in range(30):
            pack.train_pass(list(pack.slots.values()))
        pack.meter.read()
        losses.append(pack.slots["one"].curve.points[-1].loss_nats)
    assert abs(losses[1] - losses[0]) < 0.05 and losses[0] != losses[1]


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"compute": "fp16"}, "gives results in bf16, not with compute=fp16"),
        ({"quantisation": "int8"}, "not of quantisation=int8"),
        ({"quantisation": "fp32"}, "not of quantisation=fp32"),
        ({"method": "full"}, "method=full trains it"),
    ],
)
def test_what_it_does_not_go_with_is_refused(changes: dict[str, str], told: str) -> None:
    fields = {**FP8, "method": "none", **changes}
    trained = ("learning_rate", "schedule", "warmup_turns", "batch_turns", "weight_decay")
    if fields["method"] == "full":
        whole = make_config(Path("tiny"))
        fields |= {name: getattr(whole, name) for name in (*trained, "clip_norm")}
    with pytest.raises(ConfigError, match=told):
        TrialConfig(**fields)  # type: ignore[arg-type]


def test_an_older_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    with pytest.raises(ConfigError, match=r"needs a GPU of compute capability 9\.0 .*has 8\.6"):
        check_device(torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    check_device(torch.device("cuda"))


def test_a_mixture_of_experts_is_refused(tmp_path: Path) -> None:
    folder = write_model("mixtral", tmp_path)
    with pytest.raises(ConfigError, match="is a mixture of experts"):
        open_base(folder)


@pytest.mark.parametrize("architecture", ["llama", "neox"])
@pytest.mark.parametrize("quantisation", ["nf4", "bf16"])
def test_the_engine_computes_it_as_transformers_does(
    bases: dict[str, Path], architecture: str, quantisation: str
) -> None:
    """Pack checks itself against transformers' own module, whose layers are held in FP8 too."""
    double = True if quantisation == "nf4" else None
    base = open_base(bases[architecture], quantisation=quantisation, double_quantisation=double)
    kinds = {type(m) for m in base.model.modules() if isinstance(m, nn.Linear)}
    assert kinds == {Fp8Linear, nn.Linear} and base.residency == "fp8"
    assert type(base.model.get_output_embeddings()) is nn.Linear
    plain = open_base(bases[architecture], base_products="compute")
    assert base.total_params == plain.total_params
    pack = Pack(base, slots=2, max_rank=4)
    groups = {layer.together for layer in pack.adapters.layers.values()}
    if architecture == "llama":
        assert max(len(group.layers) for group in groups) == 3
