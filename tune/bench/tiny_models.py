"""Tiny random models of many architectures: what the packed engine is compared on.

Two layers of 64 features, the embedded model's tokenizer, weights large enough that every rule of
an architecture shows in its logits. Norms and biases are moved off their neutral values.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

Fields = Mapping[str, Any]

COMMON: Fields = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA: Fields = {
    **COMMON,
    "intermediate_size": 128,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.2,
}
ONE_KV: Fields = {**LLAMA, "num_key_value_heads": 4}
GPT2: Fields = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 1024}
WIDE = {"initializer_range": 0.2}
HEAD = {"head_dim": 16}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
MIXED_WINDOWS = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 32}
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1}
LATENT = {
    **{"q_lora_rank": 32, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16},
    **{"v_head_dim": 16, "num_key_value_heads": 4},
}
ROUTED = {
    **{"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64},
    **{"first_k_dense_replace": 1, "n_group": 1, "topk_group": 1},
}


def rope(kind: str, **fields: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **fields}}


LLAMA3 = rope(
    "llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
LONG = {
    **{"short_factor": [1.0] * 8, "long_factor": [4.0] * 8, "partial_rotary_factor": 1.0},
    "original_max_position_embeddings": 64,
}
LONG_ROPE = {**rope("longrope", **LONG), "original_max_position_embeddings": 64}
NEVER_LONG = {
    **rope("longrope", **{**LONG, "original_max_position_embeddings": 1024}),
    "original_max_position_embeddings": 1024,
}

# name -> (transformers' configuration class, its fields)
MODELS: dict[str, tuple[str, Fields]] = {
    "llama": ("LlamaConfig", LLAMA),
    "llama_tied": ("LlamaConfig", {**LLAMA, "tie_word_embeddings": True}),
    "llama_wide_heads": ("LlamaConfig", {**LLAMA, "head_dim": 32}),
    "llama_biases": ("LlamaConfig", {**LLAMA, "attention_bias": True, "mlp_bias": True}),
    "llama3": ("LlamaConfig", {**LLAMA, **LLAMA3}),
    "llama_linear_rope": ("LlamaConfig", {**LLAMA, **rope("linear", factor=4.0)}),
    "llama_yarn": (
        "LlamaConfig",
        {**LLAMA, **rope("yarn", factor=4.0, original_max_position_embeddings=64)},
    ),
    "llama_dynamic": (
        "LlamaConfig",
        {**LLAMA, "max_position_embeddings": 64, **rope("dynamic", factor=4.0)},
    ),
    "llama4": (
        "Llama4TextConfig",
        {
            **LLAMA,
            **HEAD,
            **{"intermediate_size_mlp": 128, "attention_chunk_size": 32, "moe_layers": []},
            "layer_types": ["chunked_attention", "full_attention"],
        },
    ),
    "llama4_experts": (
        "Llama4TextConfig",
        {
            **LLAMA,
            **HEAD,
            **LOCAL_EXPERTS,
            **{"intermediate_size_mlp": 128, "attention_chunk_size": 32},
        },
    ),
    "mistral": ("MistralConfig", {**LLAMA, "sliding_window": None}),
    "mistral_window": ("MistralConfig", {**LLAMA, "sliding_window": 32}),
    "mistral_wide_window": ("MistralConfig", {**LLAMA, "sliding_window": 4096}),
    "ministral": ("MinistralConfig", {**LLAMA, **HEAD, **MIXED_WINDOWS}),
    "mixtral": ("MixtralConfig", {**LLAMA, **LOCAL_EXPERTS, "sliding_window": 32}),
    "qwen2": ("Qwen2Config", LLAMA),
    "qwen2_window": (
        "Qwen2Config",
        {**LLAMA, "use_sliding_window": True, "sliding_window": 32, "max_window_layers": 1},
    ),
    "qwen2_moe": (
        "Qwen2MoeConfig",
        {**LLAMA, **EXPERTS, "shared_expert_intermediate_size": 64, "decoder_sparse_step": 1},
    ),
    "qwen3": ("Qwen3Config", {**LLAMA, **HEAD}),
    "qwen3_moe": ("Qwen3MoeConfig", {**LLAMA, **HEAD, **EXPERTS}),
    "qwen3_moe_dense": ("Qwen3MoeConfig", {**LLAMA, **HEAD, **EXPERTS, "mlp_only_layers": [0]}),
    "qwen3_next": (
        "Qwen3NextConfig",
        {
            **LLAMA,
            **HEAD,
            **EXPERTS,
            "layer_types": ["linear_attention", "full_attention"],
            **{"shared_expert_intermediate_size": 64, "linear_num_key_heads": 2},
            **{"linear_num_value_heads": 4, "linear_key_head_dim": 16},
            "linear_value_head_dim": 16,
        },
    ),
    "gemma": ("GemmaConfig", {**LLAMA, **HEAD}),
    "gemma2": (
        "Gemma2Config",
        {
            **LLAMA,
            **HEAD,
            **{"sliding_window": 32, "attn_logit_softcapping": 5.0},
            **{"final_logit_softcapping": 10.0, "query_pre_attn_scalar": 16},
        },
    ),
    "gemma2_defaults": (
        "Gemma2Config",
        {**LLAMA, **HEAD, "initializer_range": 0.02, "query_pre_attn_scalar": 16},
    ),
    "gemma3": ("Gemma3TextConfig", {**LLAMA, **HEAD, **MIXED_WINDOWS, "query_pre_attn_scalar": 16}),
    "gemma3_wide_window": (
        "Gemma3TextConfig",
        {**LLAMA, **HEAD, **MIXED_WINDOWS, "sliding_window": 512},
    ),
    "gemma3_capped": (
        "Gemma3TextConfig",
        {
            **LLAMA,
            **HEAD,
            **MIXED_WINDOWS,
            **{"final_logit_softcapping": 10.0, "attn_logit_softcapping": 5.0},
        },
    ),
    "gemma3n": (
        "Gemma3nTextConfig",
        {
            **LLAMA,
            **HEAD,
            **MIXED_WINDOWS,
            **{"num_kv_shared_layers": 0, "vocab_size_per_layer_input": 2048, "laurel_rank": 8},
            **{"hidden_size_per_layer_input": 16, "activation_sparsity_pattern": [0.0, 0.0]},
        },
    ),
    "vaultgemma": ("VaultGemmaConfig", {**LLAMA, **HEAD, **MIXED_WINDOWS}),
    "phi": ("PhiConfig", ONE_KV),
    "phi3": ("Phi3Config", {**LLAMA, "sliding_window": None}),
    "phi3_window": ("Phi3Config", {**LLAMA, "sliding_window": 32}),
    "phi3_longrope": ("Phi3Config", {**LLAMA, **LONG_ROPE}),
    "phi3_longrope_short": ("Phi3Config", {**LLAMA, **NEVER_LONG}),
    "phimoe": ("PhimoeConfig", {**LLAMA, **LOCAL_EXPERTS, "sliding_window": 32}),
    "gpt_neox": ("GPTNeoXConfig", {**ONE_KV, "use_parallel_residual": True}),
    "gpt_neox_serial": (
        "GPTNeoXConfig",
        {**ONE_KV, "use_parallel_residual": False, "rotary_pct": 1.0},
    ),
    "gpt_neox_japanese": (
        "GPTNeoXJapaneseConfig",
        {**COMMON, **WIDE, "max_position_embeddings": 1024},
    ),
    "gpt2": ("GPT2Config", {**GPT2, **WIDE}),
    "gpt_bigcode": ("GPTBigCodeConfig", {**GPT2, **WIDE}),
    "gptj": ("GPTJConfig", {**GPT2, **WIDE, "rotary_dim": 8}),
    "gpt_neo": (
        "GPTNeoConfig",
        {
            **{"hidden_size": 64, "num_layers": 2, "num_heads": 4, "window_size": 32},
            **{"attention_types": [[["global", "local"], 1]], "max_position_embeddings": 1024},
            **WIDE,
        },
    ),
    "codegen": ("CodeGenConfig", {**GPT2, **WIDE, "rotary_dim": 8}),
    "opt": (
        "OPTConfig",
        {**COMMON, "ffn_dim": 128, "max_position_embeddings": 1024, "init_std": 0.2},
    ),
    "opt_projected": (
        "OPTConfig",
        {
            **COMMON,
            **{"ffn_dim": 128, "max_position_embeddings": 1024, "init_std": 0.2},
            **{"word_embed_proj_dim": 32, "do_layer_norm_before": False},
        },
    ),
    "bloom": ("BloomConfig", {"hidden_size": 64, "n_layer": 2, "n_head": 4, **WIDE}),
    "falcon": ("FalconConfig", {**COMMON, **WIDE}),
    "falcon_many_keys": ("FalconConfig", {**COMMON, **WIDE, "multi_query": False}),
    "falcon_new": (
        "FalconConfig",
        {**COMMON, **WIDE, "num_kv_heads": 2, "new_decoder_architecture": True},
    ),
    "falcon_alibi": ("FalconConfig", {**COMMON, **WIDE, "alibi": True, "multi_query": False}),
    "mpt": ("MptConfig", {"d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 1024}),
    "stablelm": ("StableLmConfig", LLAMA),
    "cohere": ("CohereConfig", {**LLAMA, "logit_scale": 0.0625}),
    "cohere_normed": ("CohereConfig", {**LLAMA, "logit_scale": 0.0625, "use_qk_norm": True}),
    "cohere2": ("Cohere2Config", {**LLAMA, **MIXED_WINDOWS, "logit_scale": 0.0625}),
    "olmo": ("OlmoConfig", {**LLAMA, "clip_qkv": 1.0}),
    "olmo2": ("Olmo2Config", LLAMA),
    "olmo3": ("Olmo3Config", {**LLAMA, **MIXED_WINDOWS}),
    "olmoe": ("OlmoeConfig", {**LLAMA, "num_experts": 4, "num_experts_per_tok": 2}),
    "granite": (
        "GraniteConfig",
        {
            **LLAMA,
            **{"attention_multiplier": 0.1, "embedding_multiplier": 12.0},
            **{"residual_multiplier": 0.22, "logits_scaling": 8.0},
        },
    ),
    "granitemoe": ("GraniteMoeConfig", {**LLAMA, **LOCAL_EXPERTS, "logits_scaling": 8.0}),
    "granitemoehybrid": (
        "GraniteMoeHybridConfig",
        {
            **LLAMA,
            **MAMBA,
            **{"layer_types": ["mamba", "attention"], "num_local_experts": 2},
            **{"num_experts_per_tok": 1, "shared_intermediate_size": 64},
        },
    ),
    "smollm3": ("SmolLM3Config", {**LLAMA, "no_rope_layers": [1, 0]}),
    "gpt_oss": ("GptOssConfig", {**LLAMA, **HEAD, **LOCAL_EXPERTS, "sliding_window": 32}),
    "gpt_oss_wide_window": (
        "GptOssConfig",
        {**LLAMA, **HEAD, **LOCAL_EXPERTS, "sliding_window": 2048},
    ),
    "nemotron": ("NemotronConfig", {**LLAMA, **HEAD}),
    "persimmon": ("PersimmonConfig", ONE_KV),
    "glm": ("GlmConfig", {**LLAMA, **HEAD}),
    "glm4": ("Glm4Config", {**LLAMA, **HEAD}),
    "glm4_moe": ("Glm4MoeConfig", {**LLAMA, **HEAD, **ROUTED}),
    "helium": ("HeliumConfig", {**LLAMA, **HEAD}),
    "arcee": ("ArceeConfig", {**LLAMA, **HEAD}),
    "apertus": ("ApertusConfig", LLAMA),
    "seed_oss": ("SeedOssConfig", {**LLAMA, **HEAD}),
    "hunyuan": ("HunYuanDenseV1Config", {**LLAMA, **HEAD}),
    "hunyuan_moe": ("HunYuanMoEV1Config", {**LLAMA, **HEAD, "num_experts": 4, "moe_topk": [2, 2]}),
    "ernie4_5": ("Ernie4_5Config", {**LLAMA, **HEAD}),
    "ernie4_5_moe": (
        "Ernie4_5_MoeConfig",
        {
            **LLAMA,
            **{"moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 64},
            "moe_layer_start_index": 1,
        },
    ),
    "exaone4": ("Exaone4Config", {**LLAMA, **MIXED_WINDOWS}),
    "doge": ("DogeConfig", LLAMA),
    "bitnet": ("BitNetConfig", LLAMA),
    "starcoder2": ("Starcoder2Config", {**LLAMA, "sliding_window": 32}),
    "nanochat": ("NanoChatConfig", LLAMA),
    "afmoe": (
        "AfmoeConfig",
        {**LLAMA, **HEAD, **EXPERTS, "num_dense_layers": 1, "sliding_window": 32},
    ),
    "diffllama": ("DiffLlamaConfig", LLAMA),
    "dots1": ("Dots1Config", {**LLAMA, **HEAD, **ROUTED, "n_shared_experts": 1}),
    "jais2": ("Jais2Config", LLAMA),
    "moshi": ("MoshiConfig", {**LLAMA, **HEAD}),
    "xglm": (
        "XGLMConfig",
        {
            **{"d_model": 64, "ffn_dim": 128, "num_layers": 2, "attention_heads": 4},
            "max_position_embeddings": 1024,
        },
    ),
    "biogpt": ("BioGptConfig", {**COMMON, "intermediate_size": 128, **WIDE}),
    "deepseek_v2": (
        "DeepseekV2Config",
        {**LLAMA, **LATENT, **ROUTED, "topk_method": "greedy", "head_dim": 8},
    ),
    "deepseek_v3": ("DeepseekV3Config", {**LLAMA, **LATENT, **ROUTED}),
    "minicpm3": ("MiniCPM3Config", {**LLAMA, **LATENT}),
    "mamba": ("MambaConfig", {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8}),
    "mamba2": (
        "Mamba2Config",
        {
            **{"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8, "num_heads": 8},
            **{"head_dim": 16, "n_groups": 1},
        },
    ),
    "falcon_mamba": (
        "FalconMambaConfig",
        {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8},
    ),
    "falcon_h1": (
        "FalconH1Config",
        {
            **LLAMA,
            **{"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16},
            **{"mamba_d_state": 8, "mamba_n_groups": 1},
        },
    ),
    "bamba": ("BambaConfig", {**LLAMA, **MAMBA, "attn_layer_indices": [1]}),
    "jamba": (
        "JambaConfig",
        {
            **LLAMA,
            **{"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2},
            **{"expert_layer_offset": 1, "num_experts": 2, "num_experts_per_tok": 1},
            **{"use_mamba_kernels": False, "mamba_d_state": 8, "mamba_dt_rank": 8},
        },
    ),
    "recurrent_gemma": (
        "RecurrentGemmaConfig",
        {
            **COMMON,
            **{"intermediate_size": 128, "lru_width": 64, "attention_window_size": 32},
            **{"block_types": ["recurrent", "attention"], "num_key_value_heads": 1},
        },
    ),
    "rwkv": (
        "RwkvConfig",
        {"hidden_size": 64, "num_hidden_layers": 2, "attention_hidden_size": 64},
    ),
    "lfm2": ("Lfm2Config", {**LLAMA, "layer_types": ["conv", "full_attention"]}),
    "t5": (
        "T5Config",
        {
            **{"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4},
            "decoder_start_token_id": 0,
        },
    ),
    "flan_t5": (
        "T5Config",
        {
            **{"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4},
            **{"decoder_start_token_id": 0, "feed_forward_proj": "gated-gelu"},
            "tie_word_embeddings": False,
        },
    ),
    "bart": (
        "BartConfig",
        {
            **{"d_model": 64, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128},
            **{"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4},
            **{"decoder_attention_heads": 4, "max_position_embeddings": 1024},
            "decoder_start_token_id": 2,
        },
    ),
}


def write_model(name: str, folder: Path) -> Path:
    """The folder with that model's checkpoint, made if it is not there yet."""
    import torch
    import transformers

    from trainable.model.source import EMBEDDED_FOLDER

    if (folder / "tokenizer.json").exists():
        return folder
    kind, fields = MODELS[name]
    tokenizer = transformers.AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    ends = {f"{end}_token_id": getattr(tokenizer, f"{end}_token_id") for end in ("bos", "eos")}
    pad = {"pad_token_id": tokenizer.pad_token_id or 0}
    config = getattr(transformers, kind)(**{"vocab_size": len(tokenizer), **ends, **pad, **fields})
    torch.manual_seed(0)
    several = transformers.AutoModelForSeq2SeqLM
    auto = several if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    model = auto.from_config(config)
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if parameter.ndim == 1 and ("norm" in path.lower() or path.endswith(("bias", "sinks"))):
                parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
