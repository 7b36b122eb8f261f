"""The packed engine against transformers and peft on a GPU: `make test-gpu`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_trials import make_config

from trainable.engine.layers.attention import Packing
from trainable.engine.layers.scores import ScoreRules
from trainable.engine.pack import Pack
from trainable.model.base import BaseSpec, load_base
from trainable.model.verdicts import key_of, recall_verdict
from trainable.result import ValidationRequest
from tune.bench.tiny_models import write_model
from tune.bench.trained import main as compare_trained

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

PEOPLE_S = (
    *("llama", "llama3", "falcon", "falcon_new", "gpt_neox", "gemma3", "gemma2", "qwen2", "qwen3"),
    *("mistral_window", "granite", "smollm3", "olmo2", "phi", "phi3_window", "gpt_oss", "gpt2"),
)


@pytest.mark.parametrize(
    ("quantisation", "compute"),
    [("fp32", "auto"), ("bf16", "auto"), ("nf4", "auto"), ("bf16", "fp16"), ("nf4", "fp16")],
)
@pytest.mark.parametrize("name", PEOPLE_S)
def test_the_engine_packs_it(
    name: str, quantisation: str, compute: str, tmp_path: Path, own_cache: Path
) -> None:
    """The self-check raises CannotPack where anything differs; then it trains, recorded too."""
    double = True if quantisation == "nf4" else None
    held = {"quantisation": quantisation, "double_quantisation": double, "compute": compute}
    config = make_config(write_model(name, tmp_path), **held)
    spec = BaseSpec.of(config, device="cuda")
    pack = Pack(load_base(spec), slots=2, max_rank=8)
    verdict = recall_verdict(key_of(spec), "cuda-fp16" if compute == "fp16" else "cuda")
    assert verdict is not None and verdict.reason is None
    for seed in range(2):
        pack.join(str(seed), replace(config, seed=seed), None)
    for _ in range(12):
        pack.train_pass(list(pack.slots.values()))
    assert not pack.broken_slots()
    made = pack.generate([(slot, ValidationRequest(4)) for slot in pack.slots.values()])
    assert all(replies for replies, _ in made.values())


@pytest.mark.parametrize("quantisation", ["bf16", "nf4"])
def test_a_trained_adapter_says_by_peft_what_it_says_here(
    quantisation: str, own_cache: Path
) -> None:
    given = ["--profile", "tiny", "--set", f"quantisation={quantisation}", "--device", "cuda"]
    assert compare_trained([*given, "--turns", "200", "--dialogues", "12"]) == 0


@pytest.mark.parametrize("rules", [ScoreRules(scale=0.125, window=50), ScoreRules(scale=0.125)])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_the_kernels_for_16_bits_keep_dialogues_apart(rules: ScoreRules, half: torch.dtype) -> None:
    """An empty one among them; fp16's kernel leaves windows to the plain formula."""
    lengths = (300, 40, 0, 129, 0)
    made = []
    for dtype in (half, torch.float32):
        torch.manual_seed(0)
        q = torch.randn(1, 4, sum(lengths), 64).cuda().requires_grad_()
        k, v = (torch.randn(1, 2, sum(lengths), 64).cuda().requires_grad_() for _ in range(2))
        packing = Packing(lengths, torch.device("cuda"))
        out = packing.attend(*(x.to(dtype) for x in (q, k, v)), rules).float()
        is_fp16_in_a_window = dtype == torch.float16 and rules.window is not None
        assert packing.is_laid_out == (dtype == torch.float32 or is_fp16_in_a_window)
        slope = torch.linspace(-1, 1, out.numel(), device="cuda").view_as(out)
        made.append((out, *torch.autograd.grad((out * slope).sum(), (q, k, v))))
    for rough, exact in zip(*made, strict=True):
        assert float((rough - exact).norm()) < 0.02 * float(exact.norm())
