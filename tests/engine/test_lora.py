"""A layer with adapters against torch's own gradients of the formula."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from trainable.engine.kernels import BLOCK_TOKENS
from trainable.engine.layers.blocks import Blocks
from trainable.engine.layers.dora import Magnitudes
from trainable.engine.layers.dropout import Dropout
from trainable.engine.layers.layout import Layout
from trainable.engine.layers.lora import PackedLinear, Pass
from trainable.engine.layers.siblings import Siblings
from trainable.engine.pack import Pack
from trainable.model.base import BaseSpec, load_base
from trainable.model.counter import mix

IN, OUT, RANK = 24, 16, 3
SCALES = torch.tensor([0.5, 2.0, 1.0])[:, None, None]


class Double(nn.Module):
    """A base that is no plain layer."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.inner = inner
        self.weight, self.bias = inner.weight, inner.bias
        self.in_features, self.out_features = IN, OUT

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out


def lay_out(counts: tuple[int, ...], device: torch.device) -> Layout | Blocks:
    is_whole = not any(count % BLOCK_TOKENS for count in counts)
    return Blocks.of(counts, device) if is_whole else Layout.of(counts, device)


def make_layer(counts: tuple[int, ...], rate: float, is_plain: bool) -> PackedLinear:
    torch.manual_seed(0)
    inner = nn.Linear(IN, OUT).requires_grad_(False)
    layer = PackedLinear(inner if is_plain else Double(inner), "layer", Pass())
    layer.a = torch.randn(3, IN, RANK, requires_grad=True)
    layer.b = torch.randn(3, RANK, OUT, requires_grad=True)
    layer.grads = (torch.ones(3, IN, RANK), torch.ones(3, RANK, OUT))  # what was there stays
    layer.scale, layer.now.layout = SCALES, lay_out(counts, torch.device("cpu"))
    if rate:
        keys = mix(torch.arange(sum(counts), dtype=torch.int32)[:, None])
        layer.now.dropout = Dropout(keys, torch.full((sum(counts), 1), 1 - rate))
    return layer


def compute_plainly(layer: PackedLinear, x: Tensor, counts: tuple[int, ...]) -> Tensor:
    assert layer.a is not None and layer.b is not None
    kept = layer.now.dropout.apply(x, layer.feature_keys) if layer.now.dropout else x
    parts = [
        part @ a @ b * scale
        for part, a, b, scale in zip(kept.split(counts), layer.a, layer.b, SCALES, strict=True)
    ]
    return layer.base(x) + torch.cat(parts)


@pytest.mark.parametrize(
    "counts", [(5, 5, 5), (2, 9, 4), (256, 0, 128)], ids=["even", "uneven", "blocks"]
)
@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("is_plain", [True, False], ids=["plain", "quantised"])
def test_result_and_gradients_are_the_formula_s(
    counts: tuple[int, ...], rate: float, is_plain: bool
) -> None:
    layer = make_layer(counts, rate, is_plain)
    x = torch.randn(sum(counts), IN, requires_grad=True)
    weights = torch.randn(sum(counts), OUT)
    wanted = compute_plainly(layer, x, counts)
    grads = torch.autograd.grad((wanted * weights).sum(), [x, layer.a, layer.b])
    found = layer(x[None])[0].add_(1.0)  # as Falcon adds to it in place
    (found * weights).sum().backward()
    torch.testing.assert_close(found, wanted + 1.0)
    assert x.grad is not None and layer.grads is not None
    torch.testing.assert_close(x.grad, grads[0])
    for total, grad in zip(layer.grads, grads[1:], strict=True):
        torch.testing.assert_close(total, 1 + grad)


@pytest.mark.parametrize(
    "counts", [(5, 5, 5), (2, 9, 4), (256, 0, 128)], ids=["even", "uneven", "blocks"]
)
@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("is_plain", [True, False], ids=["plain", "quantised"])
def test_dora_is_the_formula_s_beside_a_slot_without_it(
    counts: tuple[int, ...], rate: float, is_plain: bool
) -> None:
    """Norms through which no gradient goes; the second slot has none, and learns none."""
    layer = make_layer(counts, rate, is_plain)
    values = torch.rand(3, OUT) + 1
    is_used = torch.tensor([True, False, True])[:, None]
    layer.magnitudes = Magnitudes(values, is_used, torch.ones(3, OUT))
    magnitudes = values.clone().requires_grad_()
    x = torch.randn(sum(counts), IN, requires_grad=True)
    weights = torch.randn(sum(counts), OUT)
    wanted = magnify_plainly(layer, x, counts, magnitudes)
    assert layer.a is not None and layer.b is not None
    grads = torch.autograd.grad((wanted * weights).sum(), [x, layer.a, layer.b, magnitudes])
    found = layer(x[None])[0]
    (found * weights).sum().backward()
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert x.grad is not None and layer.grads is not None
    totals = (*layer.grads, layer.magnitudes.grads)
    for total, grad in zip((x.grad, *totals), grads, strict=True):
        before = 0 if total is x.grad else 1
        torch.testing.assert_close(total, before + grad, rtol=1e-4, atol=1e-3)


def magnify_plainly(
    layer: PackedLinear, x: Tensor, counts: tuple[int, ...], magnitudes: Tensor
) -> Tensor:
    assert layer.a is not None and layer.b is not None and layer.magnitudes is not None
    inner = layer.base if layer.is_plain else layer.base.inner
    kept = layer.now.dropout.apply(x, layer.feature_keys) if layer.now.dropout else x
    rows = zip(x.split(counts), kept.split(counts), strict=True)
    parts = []
    for slot, (own, rest) in enumerate(rows):
        change = SCALES[slot, 0, 0] * (layer.a[slot] @ layer.b[slot]).T
        factor = torch.ones(OUT)
        if layer.magnitudes.is_used[slot]:
            factor = magnitudes[slot] / (inner.weight + change).norm(dim=1).detach()
        plain = rest @ inner.weight.T
        adapted = factor * (plain + rest @ change.T) - plain
        parts.append(layer.base(own) + adapted)
    return torch.cat(parts)


def test_the_adapters_learn_where_the_input_does_not() -> None:
    layer = make_layer((5, 5, 5), 0.0, is_plain=True)
    layer(torch.randn(1, 15, IN)).sum().backward()
    assert layer.grads is not None and (layer.grads[0] != 1).any() and (layer.grads[1] != 1).any()


@pytest.mark.parametrize("counts", [(2, 9, 4), (256, 0, 128)], ids=["uneven", "blocks"])
@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("odd", ["none", "no-adapter", "magnitudes"])
def test_siblings_are_what_each_is_alone(counts: tuple[int, ...], rate: float, odd: str) -> None:
    """The gradient of the input that they share is the sum of all; the second is another kind."""
    rows, found = sum(counts), []
    x, weights = torch.randn(1, rows, IN), torch.randn(3, rows, OUT)
    for is_together in (True, False):
        layers = [make_layer(counts, rate, is_plain=True) for _ in range(3)]
        for place, layer in enumerate(layers):
            layer.now = layers[0].now
            layer.base.weight.data.mul_(place + 1)
            layer.feature_keys += 1000 * place
        if odd == "no-adapter":
            layers[1].a = layers[1].b = None
        if odd == "magnitudes":
            used = torch.ones(3, 1, dtype=torch.bool)
            layers[1].magnitudes = Magnitudes(torch.ones(3, OUT), used, torch.ones(3, OUT))
        together = Siblings(layers)
        for layer in layers:
            layer.alone = Siblings([layer])
            layer.together = together if is_together else layer.alone
        own = x.clone().requires_grad_()
        outs = [layer(own)[0] for layer in layers]
        (torch.stack(outs) * weights).sum().backward()
        assert not together.made and together.read is None
        totals = [total for layer in layers for total in layer.grads or ()]
        found.append([*outs, own.grad, *totals])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture, wanted", [("llama", [3, 2] * 2), ("neox", [])])
def test_siblings_are_found_by_what_they_read(
    architecture: str, wanted: list[int], bases: dict[str, Path]
) -> None:
    spec = BaseSpec(base_model=str(bases[architecture]), quantisation="fp32", device="cpu")
    pack = Pack(load_base(spec), slots=1, max_rank=4)
    groups = {id(layer.together): layer.together for layer in pack.adapters.layers.values()}
    sizes = [len(group.layers) for group in groups.values() if len(group.layers) > 1]
    assert sizes == wanted * (pack.model.config.num_hidden_layers // 2)
