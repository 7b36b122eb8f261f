"""A frozen base in FP8 as only a GPU of compute capability 9.0 shows it. Run by hand there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_on_a_gpu import open_pack, reply, train
from tiny_trials import make_config
from torch import Tensor

from trainable.engine.decode.token_pass import TokenPass
from trainable.model.fp8 import (
    CAPABILITY,
    Fp8Linear,
    join,
    multiply,
    multiply_back,
    quantise_rows,
    read_weight,
)
from trainable.trial import TrialConfig

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < CAPABILITY,
    reason="there is no GPU that multiplies in FP8",
)


def draw(*shape: int) -> Tensor:
    """Of tokens whose sizes differ, some of them zeros."""
    x = torch.randn(*shape, device="cuda") * 10 ** torch.randn(shape[0], 1, device="cuda")
    x[::7] = 0
    return x.bfloat16()


@pytest.mark.parametrize("widths", [(64,), (4096,), (576, 192, 192), (11008, 11008)])
def test_rows_are_quantised_as_by_the_formula(widths: tuple[int, ...]) -> None:
    parts = [draw(300, width) for width in widths]
    for factors in (None, torch.rand(sum(widths), device="cuda")):
        values, scales = quantise_rows(parts, factors)
        on_cpu = None if factors is None else factors.cpu()
        wanted, of_tokens = quantise_rows([part.cpu() for part in parts], on_cpu)
        assert torch.equal(scales.cpu(), of_tokens)
        assert torch.equal(values.cpu().float(), wanted.float())


@pytest.mark.parametrize("tokens", [1, 5, 37, 300, 2048])
@pytest.mark.parametrize("n_in, n_out", [(4096, 11008), (11008, 4096), (576, 192), (64, 128)])
def test_products_are_those_of_the_formula(tokens: int, n_in: int, n_out: int) -> None:
    """Of the same 8-bit numbers, both ways, in 32 bits: what is left is how sums are kept."""
    layers = [make_layer(n_in, n_out), make_layer(n_in, 64)]
    x = draw(tokens + 1, n_in)[1:]
    values, scales = quantise_rows([x])
    for layer, y in zip(layers, multiply(layers, x), strict=True):
        wanted = (values.float() * scales) @ read_weight(layer).mT
        assert (y - wanted).norm() < 0.02 * wanted.norm()
    join(layers)
    grads = [draw(tokens + 1, layer.out_features)[1:] for layer in layers]
    values, scales = quantise_rows(grads, layers[0].joint_scales[0])
    wanted = (values.float() * scales) @ layers[0].joint.float().mT
    found = multiply_back(layers, grads)
    assert (found - wanted).norm() < 0.02 * wanted.norm()
    exact = sum(g.float() @ read_weight(layer) for g, layer in zip(grads, layers, strict=True))
    assert isinstance(exact, Tensor) and (found - exact).norm() < 0.06 * exact.norm()


def make_layer(n_in: int, n_out: int) -> Fp8Linear:
    spread = 0.5 + torch.rand(n_out, 1, device="cuda")
    return Fp8Linear(0.02 * torch.randn(n_in, n_out, device="cuda").mT * spread, None)


@pytest.mark.parametrize("n_in, n_out", [(4096, 11008), (576, 1536)])
def test_no_token_changes_its_neighbour(n_in: int, n_out: int) -> None:
    """Bit for bit, whatever the others are."""
    layers = [make_layer(n_in, n_out), make_layer(n_in, n_out)]
    join(layers)
    mine, grads = draw(1000, n_in), [draw(1000, n_out), draw(1000, n_out)]
    found = []
    for others in (1.0, 1e4, float("inf"), float("nan")):
        x = torch.cat([others * draw(500, n_in), mine, others * draw(548, n_in)])
        gs = [torch.cat([others * draw(500, n_out), g, draw(548, n_out)]) for g in grads]
        found.append([y[500:1500] for y in (*multiply(layers, x), multiply_back(layers, gs))])
    for each in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], each, strict=True))
    assert all(y.isfinite().all() for y in found[0])


def make_trials(base: Path, products: str) -> dict[str, TrialConfig]:
    how = {"quantisation": "bf16", "base_products": products, "max_new_tokens": 24}
    modules = ("all-linear", "attention", "ffn")
    return {
        str(n): make_config(base, seed=n, lora_dropout=0.05 * n, lora_modules=modules[n], **how)
        for n in range(3)
    }


@pytest.mark.parametrize("architecture", ["llama", "neox"])
def test_recorded_passes_train_and_reply_as_unrecorded_ones(
    bases: dict[str, Path], architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = []
    for is_recorded in (True, False):
        pack = open_pack(make_trials(bases[architecture], "fp8"))
        assert pack.base.residency == "fp8"
        pack.train_together.is_recorded = is_recorded
        train(pack, 60)
        assert not is_recorded or pack.train_together.recordings
        assert not pack.broken_slots()
        weights.append({key: pack.bank.params[row].clone() for row, key in enumerate(pack.rows)})
    for key, recorded in weights[0].items():
        # attention's way back adds up in no fixed order, and a rounding in 8 bits magnifies that
        assert (recorded - weights[1][key]).norm() < 0.1 * recorded.norm()
    replies = reply(pack)
    monkeypatch.setattr(TokenPass, "_record", lambda self, tokens: self._pass)
    assert reply(pack) == replies


def test_losses_are_near_those_of_bf16(bases: dict[str, Path]) -> None:
    losses = []
    for products in ("compute", "fp8"):
        pack = open_pack(make_trials(bases["llama"], products))
        train(pack, 60)
        pack.meter.read()
        points = [slot.curve.points[-1] for slot in pack.slots.values()]
        losses.append([point.loss_nats for point in points])
    assert losses[1] == pytest.approx(losses[0], abs=0.1) and losses[0] != losses[1]
