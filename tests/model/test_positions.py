"""How far a model counts positions, and what is said of longer dialogues before any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import (
    GPT2Config,
    GPTJConfig,
    LlamaConfig,
    MptConfig,
    OPTConfig,
    PretrainedConfig,
    T5Config,
    XGLMConfig,
)

from trainable.model.positions import check_positions, check_replies
from trainable.trial import ConfigError, TrialConfig

SMALL: dict[str, Any] = {"vocab_size": 64, "num_hidden_layers": 1}
WIDE: dict[str, Any] = {"hidden_size": 64, "num_attention_heads": 2, **SMALL}
ROOM = "max_position_embeddings"


def make_trial(config: PretrainedConfig, folder: Path, tokens: int) -> TrialConfig:
    config.save_pretrained(folder)
    return TrialConfig(
        method="none", base_model=str(folder), quantisation="fp32", max_length_tokens=tokens
    )


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(n_positions=300, n_embd=64, n_head=2, n_layer=1, vocab_size=64),
        OPTConfig(**WIDE, ffn_dim=64, word_embed_proj_dim=64, **{ROOM: 300}),  # 302 rows
        GPTJConfig(n_positions=300, n_embd=64, n_head=2, n_layer=1, rotary_dim=16, vocab_size=64),
        MptConfig(max_seq_len=300, d_model=64, n_heads=2, n_layers=1, vocab_size=64),
    ],
    ids=lambda config: config.model_type,
)
def test_a_table_of_positions_ends(config: PretrainedConfig, tmp_path: Path) -> None:
    assert check_positions(make_trial(config, tmp_path, 300)) is None
    told = (
        r"max_length_tokens=301 must be within the table of 300 positions .*max_length_tokens=300"
    )
    with pytest.raises(ConfigError, match=told):
        check_positions(make_trial(config, tmp_path, 301))


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**WIDE, intermediate_size=64, **{ROOM: 300}),
        XGLMConfig(
            d_model=64, attention_heads=2, num_layers=1, ffn_dim=64, vocab_size=64, **{ROOM: 300}
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_computed_positions_go_on_and_that_is_told(
    config: PretrainedConfig, tmp_path: Path
) -> None:
    assert check_positions(make_trial(config, tmp_path, 300)) is None
    note = check_positions(make_trial(config, tmp_path, 301))
    assert note is not None and "300 positions" in note and "max_length_tokens=301" in note


def test_relative_positions_have_no_end(tmp_path: Path) -> None:
    config = T5Config(d_model=64, d_kv=32, d_ff=64, num_layers=1, num_heads=2, vocab_size=64)
    assert check_positions(make_trial(config, tmp_path, 4000)) is None


def test_a_reply_needs_a_place_behind_its_prompt() -> None:
    trial = TrialConfig(method="none", quantisation="fp32", max_new_tokens=80)
    check_replies(trial, [100, 220], 300)
    check_replies(trial, [5000], None)
    with pytest.raises(ConfigError, match=r"221 tokens .*80 .*300 positions .*_tokens=220"):
        check_replies(trial, [100, 221], 300)
