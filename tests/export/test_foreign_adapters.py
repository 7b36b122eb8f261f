"""Adapters of other tools: exactly what plain peft makes of them, or refused by the field."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from trainable.corpus.encode import Window
from trainable.model.packable import why_alone
from trainable.model.source import EMBEDDED_FOLDER
from trainable.solo.choose import open_finetuner
from trainable.trial import TrialConfig
from tune.export.tokens import encode_dialogues, load_tokens

DIALOGUES, TOKENS = 1, 6
# what the adapter is -> its settings, and what keeps it out of the engine
WAYS: dict[str, tuple[dict[str, Any], str | None]] = {
    "plain": ({}, None),
    "a regular expression": ({"target_modules": r".*\.(q_proj|v_proj)"}, None),
    "rslora": ({"use_rslora": True, "r": 32}, None),
    "exclude_modules": ({"exclude_modules": ["model.layers.0.self_attn.q_proj"]}, None),
    "layers_to_transform": ({"layers_to_transform": [1, 3]}, None),
    "layers_pattern": ({"layers_to_transform": [1], "layers_pattern": "layers"}, None),
    "target_parameters": (
        {"target_modules": ["q_proj"], "target_parameters": ["mlp.down_proj.weight"]},
        None,
    ),
    "gaussian": ({"init_lora_weights": "gaussian"}, None),
    "dora": ({"use_dora": True}, "use_dora=True"),
    "alpha_pattern": ({"alpha_pattern": {"q_proj": 32}}, "alpha_pattern="),
    "rank_pattern": ({"rank_pattern": {"q_proj": 8}}, "rank_pattern="),
    "modules_to_save": ({"modules_to_save": ["lm_head"]}, "modules_to_save="),
    "lm_head": ({"target_modules": ["q_proj", "lm_head"]}, "tensor base_model.model.lm_head"),
    "embed_tokens": (
        {"target_modules": ["q_proj", "embed_tokens"]},
        "tensor base_model.model.model.embed_tokens",
    ),
    "trainable tokens": ({"trainable_token_indices": [5, 6, 7]}, "trainable_token_indices="),
    "pissa": ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa'"),
    "olora": ({"init_lora_weights": "olora"}, "init_lora_weights='olora'"),
    "lora_bias": ({"lora_bias": True}, "lora_bias=True"),
}


def load_plain() -> Any:
    return AutoModelForCausalLM.from_pretrained(EMBEDDED_FOLDER, dtype=torch.float32)


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


@cache
def base_loss() -> float:
    return measure_loss(load_plain())


@pytest.mark.parametrize("way", WAYS)
def test_it_says_what_plain_peft_says(way: str, tmp_path: Path) -> None:
    settings, why = WAYS[way]
    folder = make_adapter(settings, tmp_path / "adapter")
    model = PeftModel.from_pretrained(load_plain(), folder).eval()
    wanted, loss = reply(model), measure_loss(model)
    assert abs(loss - base_loss()) > 1e-3  # it says something
    alone = why_alone(spell(folder))
    assert (why or "the engine") in (alone or "the engine")
    finetuner: Any = open_finetuner(spell(folder), "cpu")
    made = finetuner.generate(DIALOGUES)
    finetuner.close()
    assert made.loss_nats == pytest.approx(loss, rel=1e-5)
    assert {d: [t["response"] for t in turns] for d, turns in made.responses.items()} == wanted
