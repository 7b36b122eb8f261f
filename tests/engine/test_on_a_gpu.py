"""What only a GPU shows: recorded passes, 16-bit kernels. Run by hand where there is one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_knobs import KNOBS, assert_like
from tiny_trials import make_config
from transformers import PreTrainedModel

from trainable.engine.decode.token_pass import TokenPass
from trainable.engine.layers.attention import Cached, CachedFlat
from trainable.engine.layers.backbone import open_backbone
from trainable.engine.layers.blocks import Blocks
from trainable.engine.layers.dropout import Dropout, make_feature_keys
from trainable.engine.layers.fusion import ROTARY, fuse
from trainable.engine.layers.scores import ScoreRules
from trainable.engine.layers.shared_input import add_gradients, add_kept_products, multiply_kept
from trainable.engine.pack import Pack
from trainable.engine.slots.adamw import update
from trainable.model.base import BaseSpec, load_base
from trainable.model.counter import mix
from trainable.model.source import EMBEDDED_FOLDER
from trainable.result import ValidationRequest
from trainable.trial import TrialConfig

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def open_pack(configs: dict[str, TrialConfig], residency: str = "auto") -> Pack:
    config = next(iter(configs.values()))
    spec = BaseSpec.of(config, residency=residency, device="cuda")
    pack = Pack(load_base(spec), slots=len(configs), max_rank=16)
    for key, each in configs.items():
        pack.join(key, each, None)
    return pack


def train(pack: Pack, passes: int) -> None:
    for _ in range(passes):
        pack.train_pass(list(pack.slots.values()))


def reply(pack: Pack) -> dict[str, object]:
    made = pack.generate([(slot, ValidationRequest(12)) for slot in pack.slots.values()])
    return {key: replies for key, (replies, _) in made.items()}


@pytest.mark.parametrize("architecture", ["llama", "neox"])
@pytest.mark.parametrize("precision", ["fp32", "nf4", "dequantized", "fp16"])
def test_recorded_passes_reply_as_unrecorded_ones(
    bases: dict[str, Path],
    architecture: str,
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quantisation = "fp32" if precision == "fp32" else "nf4"
    double = None if precision == "fp32" else True
    residency = precision if precision in ("nf4", "dequantized") else "auto"
    configs = {
        str(n): make_config(
            bases[architecture],
            seed=n,
            lora_rank=4 + 4 * n,
            quantisation=quantisation,
            double_quantisation=double,
            compute="fp16" if precision == "fp16" else "auto",
            max_new_tokens=24,
        )
        for n in range(3)
    }
    pack = open_pack(configs, residency)
    train(pack, 30)
    recorded = reply(pack)
    monkeypatch.setattr(TokenPass, "_record", lambda self, tokens: self._pass)
    assert reply(pack) == recorded
    assert len({str(replies) for replies in recorded.values()}) == len(configs)


@pytest.mark.parametrize("architecture", ["llama", "neox"])
@pytest.mark.parametrize("compute", ["bf16", "fp16"])
def test_recorded_passes_train_as_unrecorded_ones(
    bases: dict[str, Path], architecture: str, compute: str
) -> None:
    """A slot less on the way, so that recordings of several kinds take turns."""
    weights = []
    for is_recorded in (True, False):
        configs = {
            str(n): make_config(
                bases[architecture],
                seed=n,
                quantisation="bf16",
                compute=compute,
                lora_dropout=0.1 * n,
                lora_modules="all-linear" if n else "attention",
            )
            for n in range(3)
        }
        pack = open_pack(configs)
        pack.train_together.is_recorded = is_recorded
        train(pack, 40)
        for _ in range(40):
            pack.train_pass(list(pack.slots.values())[1:])
        train(pack, 40)
        assert not is_recorded or len(pack.train_together.recordings) >= 2
        weights.append({key: pack.bank.params[row].clone() for row, key in enumerate(pack.rows)})
    for key, recorded in weights[0].items():
        # the attention kernels' backward passes add up in no fixed order
        assert (recorded - weights[1][key]).norm() < 0.02 * recorded.norm()


def test_recorded_passes_train_every_knob_as_unrecorded_ones(bases: dict[str, Path]) -> None:
    """In one pack beside trials without them; then DoRA leaves, and the others go on."""
    changes: list[dict[str, Any]] = [
        {},
        {"neftune_alpha": 10.0, "lora_dropout": 0.1},
        {"dora": True, "lora_dropout": 0.1, "lora_modules": "ffn"},
        {"lora_init": "pissa", "lora_plus_ratio": 8.0, "weight_decay": 0.1},
        {"rank_pattern": "ffn=8,every-second=2", "rslora": True, "lora_layers": "last-half"},
    ]
    weights = []
    for is_recorded in (True, False):
        configs = {
            str(n): make_config(bases["llama"], seed=n, quantisation="bf16", **each)
            for n, each in enumerate(changes)
        }
        pack = open_pack(configs)
        pack.train_together.is_recorded = is_recorded
        train(pack, 40)
        magnified = pack.copy_state("2").adapter
        pack.leave("2")
        train(pack, 40)
        assert not is_recorded or len(pack.train_together.recordings) >= 2
        assert not pack.broken_slots()
        weights.append([magnified, *(pack.copy_state(key).adapter for key in pack.slots)])
    for recorded, unrecorded in zip(*weights, strict=True):
        for name, value in recorded.items():
            # the flash kernel's backward pass adds up in no fixed order
            assert (value - unrecorded[name]).norm() < 0.03 * value.norm(), name


@pytest.mark.parametrize("knob", KNOBS)
def test_a_knob_trains_as_on_the_cpu(knob: str, bases: dict[str, Path], tmp_path: Path) -> None:
    for device in ("cuda", "cpu"):
        mine = make_config(bases["llama"], seed=3, **KNOBS[knob])
        configs = {"mine": mine, "other": make_config(bases["llama"], seed=4)}
        spec = BaseSpec.of(mine, device=device)
        pack = Pack(load_base(spec), slots=2, max_rank=8, pass_tokens=2048)
        for key, config in configs.items():
            pack.join(key, config, None)
        train(pack, 12)
        pack.copy_state("mine").write(tmp_path / device)
    assert_like(tmp_path / "cuda", tmp_path / "cpu", 1e-2)


@pytest.mark.parametrize("quantisation", ["int8", "fp32"])
def test_what_a_recording_would_break_is_not_recorded(
    bases: dict[str, Path], quantisation: str
) -> None:
    configs = {str(n): make_config(bases["llama"], quantisation=quantisation) for n in range(2)}
    pack = open_pack(configs)
    train(pack, 4)
    assert not pack.train_together.recordings and not pack.broken_slots()
    assert len(reply(pack)) == 2


@pytest.mark.parametrize(
    "rules",
    [
        ScoreRules(scale=0.125),
        ScoreRules(scale=0.125, window=20),
        ScoreRules(scale=0.125, chunk=16),
        ScoreRules(scale=0.5, cap=3.0, window=70),
        ScoreRules(scale=0.125, window=8, sinks=torch.linspace(-2, 2, 8)),
    ],
    ids=["plain", "window", "chunk", "cap", "sinks"],
)
@pytest.mark.parametrize("heads", [4, 8])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_kernel_for_rows_attends_as_the_plain_one(
    heads: int, rules: ScoreRules, dtype: torch.dtype
) -> None:
    if rules.sinks is not None:
        rules = replace(rules, sinks=rules.sinks[:heads].cuda())
    rows, kv_heads, columns, width = 37, 4, 90, 64
    generator = torch.Generator("cuda").manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device="cuda", generator=generator, dtype=dtype)

    lengths = torch.arange(rows, device="cuda") * 2 + 1
    keys, values = draw(rows, kv_heads, columns, width), draw(rows, kv_heads, columns, width)
    new = (
        draw(rows, heads, 1, width),
        draw(rows, kv_heads, 1, width),
        draw(rows, kv_heads, 1, width),
    )
    flat = [[side.transpose(1, 2).reshape(-1, kv_heads, width)] for side in (keys, values)]
    starts = torch.arange(rows, device="cuda") * columns
    plain = Cached([keys], [values], lengths).attend(0, *new, rules)
    found = CachedFlat(*flat, lengths, starts).attend(0, *new, rules)
    torch.testing.assert_close(found, plain, atol=0.03, rtol=0.03)
    torch.testing.assert_close(
        flat[0][0].view(rows, columns, kv_heads, width).transpose(1, 2), keys, atol=0, rtol=0
    )


@pytest.mark.parametrize("tokens, width", [(37, 200), (1024, 576)])
def test_dropout_on_a_gpu_has_the_masks_of_the_cpu(tokens: int, width: int) -> None:
    keys = mix(torch.arange(tokens, dtype=torch.int32))[:, None]
    keep = torch.tensor([1.0, 0.9, 0.5])[torch.arange(tokens) % 3, None]
    dropped = []
    for device in (torch.device("cpu"), torch.device("cuda")):
        dropout = Dropout(keys.to(device), keep.to(device))
        features = make_feature_keys("layer", width, device)
        dropped.append(dropout.apply(torch.ones(tokens, width, device=device), features).cpu())
    assert torch.equal(dropped[0] == 0, dropped[1] == 0)
    torch.testing.assert_close(*dropped)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_blocks_on_a_gpu_are_those_of_the_cpu(dtype: torch.dtype) -> None:
    counts, m, n = (256, 0, 512, 128), 576, 64
    tokens, near = sum(counts), 1e-4 if dtype == torch.float32 else 3e-2
    x, low = torch.randn(tokens, m).to(dtype), torch.randn(tokens, n).to(dtype)
    w, scale = torch.randn(4, m, n).to(dtype) * m**-0.5, torch.rand(4)[:, None, None]
    made = []
    for device in (torch.device("cpu"), torch.device("cuda")):
        blocks, own = Blocks.of(counts, device), [v.to(device) for v in (x, low, w, scale)]
        total = torch.ones(4, m, n, device=device)
        if device.type == "cpu":  # the sums of 16 bits are made in 32 on a GPU
            blocks.add_gradients(total, own[0].float(), own[1].float())
        else:
            blocks.add_gradients(total, own[0], own[1])
        product = blocks.multiply(own[0], own[2], own[3])
        added = blocks.add_product(own[0].clone(), own[1], own[2].mT)
        made.append([part.float().cpu() for part in (product, added, total)])
    for wanted, found in zip(*made, strict=True):
        torch.testing.assert_close(found, wanted, rtol=near, atol=near * float(wanted.std()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("n_layers, m, n", [(1, 1536, 160), (3, 576, 64)])
@pytest.mark.parametrize("is_dropped", [True, False])
def test_layers_that_read_one_input_are_as_one_by_one(
    dtype: torch.dtype, n_layers: int, m: int, n: int, is_dropped: bool
) -> None:
    device, tokens = torch.device("cuda"), 896
    layout, near = Blocks.of((256, 0, 512, 128), device), 1e-4 if dtype == torch.float32 else 2e-2

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=device, dtype=dtype)

    def compare(found: torch.Tensor, wanted: torch.Tensor) -> None:
        torch.testing.assert_close(found, wanted, rtol=near, atol=near * float(wanted.std()))

    x, y, lows, bank = draw(tokens, m), draw(tokens, m), draw(n_layers, tokens, n), draw(4, 400000)
    places = [layer * (m * n + 64) for layer in range(n_layers)]
    bank *= m**-0.5
    a = [bank[:, place : place + m * n].unflatten(1, (m, n)) for place in places]
    scales = list(torch.rand(4, 5, 1, 1, device=device).unbind(1))[1 : 1 + n_layers]
    keys = torch.stack([make_feature_keys(str(i), m, device) for i in range(n_layers)])
    keep = torch.tensor([1.0, 0.9, 0.5], device=device)[torch.arange(tokens) % 3, None]
    token_keys = mix(torch.arange(tokens, dtype=torch.int32, device=device)[:, None])
    dropout = Dropout(token_keys, keep) if is_dropped else None
    kept, products = multiply_kept(layout, x, dropout, keys, a, scales)
    added = add_kept_products(layout, y.clone(), lows, [w.mT for w in a], dropout, keys)
    totals = torch.ones(4, 400000, device=device)
    mine = [totals[:, place : place + m * n].unflatten(1, (m, n)) for place in places]
    add_gradients(layout, mine, kept, lows)
    for layer in range(n_layers):
        own = x if dropout is None else dropout.apply(x, keys[layer])
        assert torch.equal(kept[layer if is_dropped else 0], own)
        compare(products[layer], layout.multiply(own, a[layer], scales[layer]))
        part = layout.multiply(lows[layer], a[layer].mT)
        y = y + (part if dropout is None else dropout.apply(part, keys[layer]))
        total = torch.ones(4, m, n, device=device)
        layout.add_gradients(total, own, lows[layer])
        assert torch.equal(mine[layer], total)
    compare(added, y)


@pytest.mark.parametrize("compute", ["bf16", "fp16"])
def test_l0_a_broken_neighbour_changes_no_bit_in_16_bits(
    bases: dict[str, Path], compute: str
) -> None:
    weights = []
    for poison in (1.0, float("nan")):
        configs = {
            key: make_config(
                bases["llama"],
                quantisation="bf16",
                compute=compute,
                lora_dropout=0.1,
                seed=seed,
                max_length_tokens=256,  # the backward pass of longer ones varies from run to run
            )
            for seed, key in enumerate(("good", "other"))
        }
        pack = open_pack(configs)
        pack.bank.params[pack.rows.index("other")] *= poison
        train(pack, 20)
        weights.append(pack.bank.params[pack.rows.index("good")].clone())
        assert len(pack.broken_slots()) == (0 if poison == 1.0 else 1)
    assert torch.equal(*weights)


@pytest.mark.parametrize("architecture", ["llama", "neox"])
def test_fused_operations_compute_what_they_did(
    bases: dict[str, Path], architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = BaseSpec(base_model=str(bases[architecture]), quantisation="fp32", device="cuda")
    plain, fused = load_base(spec).model, load_base(spec).model
    library = sys.modules[type(plain).__module__]
    monkeypatch.setattr(library, ROTARY, getattr(library, ROTARY))
    ids = torch.arange(600, device="cuda").view(2, 300) % 1000
    slope = torch.randn(2, 300, plain.config.vocab_size, device="cuda")

    def run(model: PreTrainedModel) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = model.get_input_embeddings()(ids).detach().requires_grad_()
        logits = model(inputs_embeds=inputs).logits
        return logits, torch.autograd.grad((logits * slope).sum(), inputs)[0]

    before = run(plain)
    fuse(fused, open_backbone(fused))
    fused.set_attn_implementation("sdpa")
    for found, wanted in zip(run(fused), before, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)
    assert getattr(library, ROTARY).__name__ == "turn"  # not what torch would have compiled


@pytest.mark.parametrize(
    "changes",
    [
        {"decoding": "beam", "num_beams": 4, "length_penalty": 1.0, "no_repeat_ngram_size": 3},
        {"decoding": "contrastive", "top_k": 4, "penalty_alpha": 0.6},
        {"decoding": "sampling", "temperature": 0.8, "top_k": 20, "top_p": 0.9, "typical_p": 0.9},
    ],
    ids=lambda changes: changes["decoding"],
)
def test_every_decoding_replies_as_on_the_cpu(changes: dict[str, Any]) -> None:
    replies = []
    for device in ("cuda", "cpu"):
        config = make_config(EMBEDDED_FOLDER, max_new_tokens=40, **changes)
        pack = Pack(load_base(BaseSpec.of(config, device=device)), slots=1, max_rank=4)
        pack.join("0", config, None)
        replies.append(reply(pack))
    assert replies[0] == replies[1]


def test_no_step_waits_for_torch_s_compiler(bases: dict[str, Path]) -> None:
    """What it compiles takes the first step seconds."""
    torch._dynamo.utils.counters.clear()
    configs = {str(n): make_config(bases["llama"], seed=n) for n in range(2)}
    train(open_pack(configs), 3)
    assert torch._dynamo.utils.counters["stats"].get("unique_graphs", 0) == 0


@pytest.mark.parametrize("is_wide", [False, True])
def test_a_row_on_a_gpu_is_stepped_as_on_the_cpu(is_wide: bool) -> None:
    torch.manual_seed(0)
    slots, width = 4, 5000
    rows = [torch.randn(slots, width) for _ in range(4)]
    rows[3].abs_()
    grads, scaling = torch.randn(slots, width), torch.tensor([[1.0, 0.0, 0.0]] * slots)
    norms = grads.norm(dim=1, keepdim=True)
    norms[2] = float("inf")
    columns = torch.tensor(
        [[1.0, 0.0, 1.0, 1.0], [0.3] * 4, [1.0, 2.0, 3.0, 9.0], [1.0, 1.0, 0.5, 0.25]]
    )
    paces = torch.rand(2, slots, width if is_wide else 1)
    given = (grads, norms, columns[:, :, None], paces, scaling)
    on_gpu = [[side.cuda() for side in sides] for sides in (rows, given)]
    update(tuple(rows), *given)  # type: ignore[arg-type]
    update(tuple(on_gpu[0]), *on_gpu[1])  # type: ignore[arg-type]
    for wanted, found in zip((*rows, grads), (*on_gpu[0], on_gpu[1][0]), strict=True):
        torch.testing.assert_close(found.cpu(), wanted)
