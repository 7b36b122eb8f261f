"""Models that transformers alone computes: by the right formula, in the trial's own way, or not at
all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from trainable.model.base import BaseSpec, load_base
from trainable.model.source import EMBEDDED_FOLDER
from trainable.result import ValidationRequest
from trainable.solo.choose import open_finetuner, open_plain
from trainable.trial import ConfigError, TrialConfig
from tune.bench.tiny_models import write_model


def make_trial(base_model: str | Path, **fields: Any) -> TrialConfig:
    fields = {"quantisation": "fp32", "method": "none", "max_new_tokens": 6, **fields}
    return TrialConfig(base_model=str(base_model), **fields)


@pytest.mark.parametrize("heads", [4, 6], ids=["falcon_alibi", "falcon_alibi_six"])
def test_falcon_s_slopes_are_added_once(heads: int, tmp_path: Path) -> None:
    """(q k + slope position) / sqrt(width), as Falcon's authors define it; transformers' eager
    attention counts the slopes twice."""
    name = {4: "falcon_alibi", 6: "falcon_alibi_six"}[heads]
    spec = BaseSpec(base_model=str(write_model(name, tmp_path)), quantisation="fp32", device="cpu")
    model: Any = load_base(spec).model
    layer = model.transformer.h[0].self_attention
    seen: list[Tensor] = []
    layer.register_forward_hook(lambda _, given, out: seen.extend((given[0], out[0])))
    with torch.no_grad():
        model(input_ids=torch.arange(5, 45)[None])
        hidden, found = seen
        wanted = layer.dense(attend_by_hand(layer.query_key_value(hidden)[0], heads))
    torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=1e-5)


def attend_by_hand(fused: Tensor, heads: int) -> Tensor:
    """[tokens, heads * 3 * width] -> [tokens, heads * width]"""
    tokens = len(fused)
    query, key, value = fused.view(tokens, heads, 3, -1).permute(2, 1, 0, 3)
    slopes = torch.tensor(list_slopes(heads))[:, None, None]
    scores = (query @ key.mT + slopes * torch.arange(tokens)) / query.shape[-1] ** 0.5
    scores = scores.masked_fill(torch.ones(tokens, tokens).tril() == 0, float("-inf"))
    return (scores.softmax(-1) @ value).transpose(0, 1).flatten(1)


def list_slopes(heads: int) -> list[float]:
    """Of ALiBi's authors (arXiv 2108.12409): 2^(-8 i / n) of n heads, n a power of two; those that
    are left have every second one of twice as many."""
    if heads & (heads - 1) == 0:
        return [2 ** (-8 * (i + 1) / heads) for i in range(heads)]
    whole = 2 ** (heads.bit_length() - 1)
    return list_slopes(whole) + list_slopes(2 * whole)[::2][: heads - whole]


@pytest.mark.slow
def test_an_encoder_is_refused(tmp_path: Path, own_cache: Path) -> None:
    folder = write_model("roberta", tmp_path / "model")
    with pytest.raises(ConfigError, match="reads those behind it, too"):
        open_finetuner(make_trial(folder, max_length_tokens=512), "cpu")


def test_what_a_model_s_makers_recommend_decides_no_reply(tmp_path: Path) -> None:
    wanted = open_plain(make_trial("tiny"), "cpu").generate(ValidationRequest(1)).responses
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED_FOLDER)
    ids = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)(str(wanted))["input_ids"]
    recommended = {"suppress_tokens": sorted(set(ids)), "num_beams": 3, "bos_token_id": 1}
    model.generation_config = GenerationConfig(**recommended)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(EMBEDDED_FOLDER).save_pretrained(tmp_path)
    assert (
        open_plain(make_trial(tmp_path), "cpu").generate(ValidationRequest(1)).responses == wanted
    )
