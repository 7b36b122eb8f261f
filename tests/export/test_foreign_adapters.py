"""Adapters of other tools: exactly what plain peft makes of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from foreign import DIALOGUES, load_plain, make_adapter, measure_loss, reply, spell
from peft import PeftModel

from trainable.model.packable import why_alone
from trainable.solo.choose import open_finetuner

# what the adapter is -> its settings, and what keeps it out of the engine
WAYS: dict[str, tuple[dict[str, Any], str | None]] = {
    "plain": ({"lora_dropout": 0.5}, None),
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
    "dora": ({"use_dora": True, "lora_dropout": 0.5}, "use_dora=True"),
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


@cache
def base_loss() -> float:
    return measure_loss(load_plain())


@pytest.mark.slow
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
    assert made.losses.loss_nats == pytest.approx(loss, rel=1e-5)
    assert {d: [t["response"] for t in turns] for d, turns in made.responses.items()} == wanted
