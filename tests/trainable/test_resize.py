"""An adapter at another rank and scale computes what it did, as far as the rank allows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from trainable.storage.adapter import WEIGHTS
from trainable.storage.resize import copy_adapter, resize
from trainable.trial import ConfigError, TrialConfig

A, B = "layers.0.q.lora_A.weight", "layers.0.q.lora_B.weight"


def make_weights(rank: int, true_rank: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    mix = draw.normal(size=(true_rank, rank))
    b = draw.normal(size=(12, true_rank)) @ mix
    return {A: draw.normal(size=(rank, 20)).astype(np.float32), B: b.astype(np.float32)}


def spell_config(rank: int, alpha: float = 2.0, rslora: bool = False) -> TrialConfig:
    fields: dict[str, Any] = {"double_quantisation": True, "lora_modules": "qv", "lora_dropout": 0}
    fields |= {"learning_rate": 1e-3, "schedule": "constant", "warmup_turns": 0, "batch_turns": 4}
    fields |= {"weight_decay": 0.0, "clip_norm": 1.0, "rslora": rslora}
    return TrialConfig(lora_rank=rank, alpha_over_rank=alpha, **fields)


def product(weights: dict[str, np.ndarray]) -> np.ndarray:
    return weights[B] @ weights[A]


def test_a_higher_rank_computes_the_same_and_can_learn() -> None:
    old = make_weights(4, 4)
    new = resize(old, spell_config(4), spell_config(7, 4.0))
    assert new[A].shape == (7, 20) and new[B].shape == (12, 7)
    np.testing.assert_allclose(product(new), 0.5 * product(old), rtol=1e-5)
    assert np.abs(new[A][4:]).min() > 0  # else its gradient would be zero for ever


def test_a_lower_rank_is_exact_where_it_is_enough_and_the_nearest_elsewhere() -> None:
    old = make_weights(6, 3)
    enough = resize(old, spell_config(6), spell_config(3))
    np.testing.assert_allclose(product(enough), product(old), rtol=1e-3, atol=1e-4)
    s = np.linalg.svd(product(old), compute_uv=False)
    lost = np.linalg.norm(product(resize(old, spell_config(6), spell_config(2))) - product(old))
    assert lost == pytest.approx(s[2], rel=1e-3)


def test_the_copy_is_peft_s_and_keeps_the_function(tmp_path: Path) -> None:
    old, new = spell_config(4), spell_config(9, 0.5, rslora=True)
    source = tmp_path / "source"
    source.mkdir()
    save_file(make_weights(4, 4), source / WEIGHTS)
    (source / "adapter_config.json").write_text('{"r": 4, "target_modules": ["q"]}')
    copy_adapter(source, tmp_path / "copy", old, new)
    weights = load_file(tmp_path / "copy" / WEIGHTS)
    np.testing.assert_allclose(
        new.scale_at(9) * product(weights), 2.0 * product(make_weights(4, 4)), rtol=1e-5
    )
    with pytest.raises(ConfigError, match="adapter must be a folder"):
        copy_adapter(tmp_path / "nothing", tmp_path / "c", old, new)
