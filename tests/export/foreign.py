"""Adapters as other tools leave them on the embedded model, and what plain peft makes of them."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from trainable.corpus.encode import Window
from trainable.model.source import EMBEDDED_FOLDER
from trainable.trial import TrialConfig
from tune.export.tokens import encode_dialogues, load_tokens

DIALOGUES, TOKENS = 1, 6


@cache
def read_base() -> Any:
    return AutoModelForCausalLM.from_pretrained(EMBEDDED_FOLDER, dtype=torch.float32)


def load_plain() -> Any:
    """The embedded model as transformers loads it: peft may change it."""
    return copy.deepcopy(read_base())


def make_adapter(settings: dict[str, Any], folder: Path) -> Path:
    """An adapter as somebody else leaves it: nothing that it trains is zero."""
    usual = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    torch.manual_seed(0)
    model = get_peft_model(
        load_plain(), LoraConfig(**{**usual, "task_type": "CAUSAL_LM", **settings})
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
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
    nats, targets = 0.0, 0
    for window in list_windows()[1]:
        ids = torch.from_numpy(window.ids).long()[None]
        logits = model(ids).logits[0, window.targets - 1]
        nats += float(F.cross_entropy(logits, ids[0, window.targets], reduction="sum"))
        targets += len(window.targets)
    return nats / targets


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
