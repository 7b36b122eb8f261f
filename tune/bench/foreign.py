"""Adapters as other tools leave them on the embedded model, and what plain peft makes of them."""

import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import peft
import torch
from transformers import AutoModelForCausalLM

from trainable.corpus.encode import Window
from trainable.model.source import EMBEDDED_FOLDER
from trainable.trial import TrialConfig
from tune.bench.peft_reference import list_nats
from tune.export.tokens import encode_dialogues, load_tokens

DIALOGUES, TOKENS = 1, 6
SIZE = 0.1  # of what is added to all that an adapter trains
BOT = [272, 32]  # "bot>" in the embedded model's tokens
USUAL = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}

# what a LoRA adapter is -> its settings, and what keeps it out of the engine
WAYS: Mapping[str, tuple[dict[str, Any], str | None]] = {
    "plain": ({"lora_dropout": 0.5}, None),
    "a regular expression": ({"target_modules": r".*\.(q_proj|v_proj)"}, None),
    "all-linear": ({"target_modules": "all-linear"}, None),
    "rslora": ({"use_rslora": True, "r": 32}, None),
    "exclude_modules": ({"exclude_modules": ["model.layers.0.self_attn.q_proj"]}, None),
    "layers_to_transform": ({"layers_to_transform": [1, 3]}, None),
    "layers_pattern": ({"layers_to_transform": [1], "layers_pattern": "layers"}, None),
    "target_parameters": (
        {"target_modules": ["q_proj"], "target_parameters": ["mlp.down_proj.weight"]},
        None,
    ),
    "gaussian": ({"init_lora_weights": "gaussian"}, None),
    "orthogonal": ({"init_lora_weights": "orthogonal"}, None),
    "dora": ({"use_dora": True, "lora_dropout": 0.5}, None),
    "alpha_pattern": ({"alpha_pattern": {"q_proj": 32}}, None),
    "rank_pattern": ({"rank_pattern": {"q_proj": 8}}, None),
    "modules_to_save": ({"modules_to_save": ["lm_head"]}, "modules_to_save="),
    "norms saved": ({"modules_to_save": ["input_layernorm"]}, "modules_to_save="),
    "lm_head": ({"target_modules": ["q_proj", "lm_head"]}, "tensor base_model.model.lm_head"),
    "embed_tokens": (
        {"target_modules": ["q_proj", "embed_tokens"]},
        "tensor base_model.model.model.embed_tokens",
    ),
    "trainable tokens": ({"trainable_token_indices": [5, 6, 7]}, "trainable_token_indices="),
    "pissa": ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa'"),
    "olora": ({"init_lora_weights": "olora"}, "init_lora_weights='olora'"),
    "mica": ({"init_lora_weights": "mica"}, "init_lora_weights='mica'"),
    "lora_bias": ({"lora_bias": True}, "lora_bias=True"),
    "bias of all": ({"bias": "all"}, "bias='all'"),
    "bias of LoRA's layers": ({"bias": "lora_only"}, "bias='lora_only'"),
    "layer_replication": ({"layer_replication": [[0, 3], [1, 4]]}, "layer_replication="),
    "alora": ({"alora_invocation_tokens": BOT}, "alora_invocation_tokens="),
    "eva": ({"init_lora_weights": "eva"}, "eva_config="),
    "kasa": ({"kasa_config": {}}, "kasa_config="),
    "qalora": ({"use_qalora": True}, "use_qalora=True"),
    "tied weights": (
        {"ensure_weight_tying": True, "target_modules": ["q_proj", "embed_tokens"]},
        "ensure_weight_tying=True",
    ),
}
# what is refused by its field: the class of its configuration in peft, and its settings
REFUSED: Mapping[str, tuple[str, dict[str, Any]]] = {
    "pissa_niter": ("LoraConfig", {"init_lora_weights": "pissa_niter_4"}),
    "ia3": (
        "IA3Config",
        {"target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    ),
    "loha": ("LoHaConfig", {"r": 4, "target_modules": ["q_proj"]}),
    "lokr": ("LoKrConfig", {"r": 4, "target_modules": ["q_proj"]}),
    "adalora": ("AdaLoraConfig", {"target_modules": ["q_proj"], "total_step": 10}),
    "oft": ("OFTConfig", {"oft_block_size": 16, "target_modules": ["q_proj"]}),
    "vera": ("VeraConfig", {"r": 4, "target_modules": ["q_proj"]}),
    "tuned norms": ("LNTuningConfig", {"target_modules": ["input_layernorm"]}),
    "prompt tuning": ("PromptTuningConfig", {"num_virtual_tokens": 4}),
    "prefix tuning": ("PrefixTuningConfig", {"num_virtual_tokens": 4}),
}


@cache
def read_base() -> Any:
    return AutoModelForCausalLM.from_pretrained(EMBEDDED_FOLDER, dtype=torch.float32)


def load_plain() -> Any:
    """The embedded model as transformers loads it: peft may change it."""
    return copy.deepcopy(read_base())


def make_adapter(settings: dict[str, Any], folder: Path, kind: str = "LoraConfig") -> Path:
    """An adapter as somebody else leaves it: nothing that it trains is zero."""
    fields = {**(USUAL if kind == "LoraConfig" else {}), "task_type": "CAUSAL_LM", **settings}
    torch.manual_seed(0)
    model = peft.get_peft_model(load_plain(), getattr(peft, kind)(**fields))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(SIZE * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


def spell(folder: Path, **fields: Any) -> TrialConfig:
    return TrialConfig(
        **{"quantisation": "fp32", "method": "none", "adapter": str(folder), **fields},
        max_new_tokens=TOKENS,
    )


@cache
def list_windows() -> tuple[Any, list[Window]]:
    config = spell(Path())
    tokens = load_tokens(config)
    return tokens, encode_dialogues(config, tokens, "validation", DIALOGUES)


@torch.no_grad()
def measure_loss(model: Any) -> float:
    """Plain transformers' mean loss on the corpus's own replies."""
    return float(torch.cat([list_nats(model, window) for window in list_windows()[1]]).mean())


@torch.no_grad()
def reply(model: Any) -> dict[str, list[str]]:
    """Its greedy replies by dialogue."""
    tokens, windows = list_windows()
    ends = {"eos_token_id": tokens.special.eos, "pad_token_id": tokens.special.pad}
    replies: dict[str, list[str]] = {}
    for window in windows:
        ids = torch.from_numpy(window.ids).long()[None]
        for prefix in window.prompts:
            made = model.generate(ids[:, :prefix], do_sample=False, max_new_tokens=TOKENS, **ends)
            text = tokens.tokenizer.decode(made[0, prefix:], skip_special_tokens=True)
            replies.setdefault(window.dialogue_id, []).append(text.strip())
    return replies
