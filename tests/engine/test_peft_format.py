"""What a slot saves is what plain peft loads: every tensor, whatever the architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    Glm4MoeConfig,
    LlamaConfig,
    PretrainedConfig,
    Qwen2MoeConfig,
    Qwen3MoeConfig,
)

from trainable.engine.slots.peft_format import PREFIX, shape_adapter, spell_config
from trainable.engine.slots.rows import AdapterShape
from trainable.model.modules import list_linear_paths
from trainable.model.peft_targets import list_as_parameters
from trainable.solo.adapter import check_whole, load
from trainable.system.whole import write_json
from trainable.trial import TrialConfig

WIDTHS: dict[str, Any] = {
    **{"vocab_size": 1280, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256},
}
EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 64}
ROUTED: dict[str, Any] = {
    **{"n_routed_experts": 4, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1},
    **EXPERTS,
}
CONFIGS: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**WIDTHS),
    "qwen3_moe with a dense layer": Qwen3MoeConfig(
        **WIDTHS, **EXPERTS, num_experts=4, head_dim=16, mlp_only_layers=[0]
    ),
    "qwen2_moe": Qwen2MoeConfig(
        **WIDTHS, **EXPERTS, num_experts=4, shared_expert_intermediate_size=64
    ),
    "glm4_moe": Glm4MoeConfig(**WIDTHS, **ROUTED, head_dim=16),
    "deepseek_v3": DeepseekV3Config(
        **{**WIDTHS, **ROUTED, "num_key_value_heads": 4, "q_lora_rank": 32, "kv_lora_rank": 16},
        **{"qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16},
    ),
}
LORA = TrialConfig(
    quantisation="fp32", lora_rank=4, alpha_over_rank=2.0, rslora=False, lora_modules="all-linear",
    lora_dropout=0.1, learning_rate=1e-3, schedule="constant", warmup_turns=0, batch_turns=8,
    weight_decay=0.0, clip_norm=1.0,
)  # fmt: skip


def build(config: PretrainedConfig) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def draw_tensors(shape: AdapterShape, model: Any) -> dict[str, torch.Tensor]:
    tensors = {}
    for path, rank in shape.ranks.items():
        layer = model.get_submodule(path)
        tensors[f"{PREFIX}{path}.lora_A.weight"] = torch.randn(rank, layer.in_features) / 8
        tensors[f"{PREFIX}{path}.lora_B.weight"] = torch.randn(layer.out_features, rank) / 8
    return tensors


@torch.no_grad()
def add_by_hand(model: Any, shape: AdapterShape, tensors: dict[str, torch.Tensor]) -> Any:
    for path in shape.modules:
        a, b = (tensors[f"{PREFIX}{path}.lora_{part}.weight"] for part in "AB")
        model.get_submodule(path).weight.add_(shape.scales[path] * b @ a)
    return model


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_plain_peft_takes_every_layer(name: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = build(CONFIGS[name])
    shape = shape_adapter(LORA, list_linear_paths(model), model)
    tensors = draw_tensors(shape, model)
    save_file(tensors, tmp_path / "adapter_model.safetensors", metadata={"format": "pt"})
    write_json(tmp_path / "adapter_config.json", spell_config(LORA, shape))
    tuned, left = load(model, tmp_path)
    check_whole(left, tmp_path)
    ids = torch.arange(3, 40)[None]
    wanted = add_by_hand(build(CONFIGS[name]), shape, tensors)(ids).logits
    assert F.log_softmax(tuned(ids).logits, -1) == pytest.approx(
        F.log_softmax(wanted, -1), abs=1e-5
    )


def test_only_what_peft_would_drop_is_named_by_its_weight() -> None:
    shared = [f"model.layers.0.mlp.shared_experts.{n}_proj" for n in ("gate", "up", "down")]
    paths = ["model.layers.0.self_attn.q_proj", *shared]
    model = type("Model", (), {"config": CONFIGS["glm4_moe"]})()
    assert list_as_parameters(paths, model) == tuple(shared)
    assert list_as_parameters(paths, type("Model", (), {"config": CONFIGS["llama"]})()) == ()
