"""Variants of LoRA as a config spells them: what excludes each other, and which layer has which
rank."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from trainable.model.ranks import choose_ranks
from trainable.storage.adapter import rank_of
from trainable.storage.adapter_ranks import as_plain, read_rank, read_scale, spell_ranks
from trainable.trial import ConfigError, TrialConfig
from tune.search.clones import spell_clone
from tune.search.profiles import BASES, compose

LEAVES = ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.down_proj")
PATHS = tuple(f"model.layers.{block}.{leaf}" for block in range(5) for leaf in LEAVES)


def spell(**changes: Any) -> TrialConfig:
    return TrialConfig.from_dict({**BASES["tiny"], "warmup_turns": 0, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank_pattern": "attention:8"}, "NAME=RANK with ranks of 1 to 1024, not 'attention:8'"),
        ({"rank_pattern": "ffn=0"}, "not 'ffn=0'"),
        ({"lora_init": "pisa"}, "did you mean pissa"),
        ({"lora_init": "pissa", "dora": True}, "leave one out"),
        ({"lora_init": "pissa", "adapter": "somewhere"}, "leave one out"),
        ({"lora_init": "pissa", "lora_rank": 600}, "up to 512"),
        ({"lora_init": "pissa", "rank_pattern": "ffn=513"}, "up to 512"),
        ({"train_share": 0.0}, "must lie in"),
        ({"method": "none", "lora_plus_ratio": 4.0}, "has no meaning with method=none"),
    ],
)
def test_what_cannot_be_is_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        spell(**changes)
    assert "\n" not in str(caught.value)


def test_the_first_part_that_fits_a_layer_decides() -> None:
    pattern = "down_proj=6,every-second=2,attention=9"
    ranks = choose_ranks(spell(lora_rank=4, rank_pattern=pattern), PATHS)
    found = [ranks[f"model.layers.{b}.{leaf}"] for b in (0, 1) for leaf in LEAVES]
    assert found == [9, 9, 4, 6, 2, 2, 2, 6]


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [("first-half", {0, 1, 2}), ("last-half", {3, 4}), ("every-second", {1, 3})],
)
def test_depths_are_blocks(depth: str, blocks: set[int]) -> None:
    chosen = choose_ranks(spell(lora_layers=depth, lora_modules="qv"), PATHS)
    assert {int(path.split(".")[2]) for path in chosen} == blocks
    assert len(chosen) == 2 * len(blocks)


def test_a_pattern_of_no_layer_and_a_depth_without_layers_are_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean down_proj"):
        choose_ranks(spell(rank_pattern="down_prj=4"), PATHS)
    first = spell(lora_layers="last-half", lora_modules=r"regexp:.*\.0\..*")
    with pytest.raises(ConfigError, match="must leave a layer to adapt"):
        choose_ranks(first, PATHS)


@pytest.mark.parametrize("rslora", [False, True])
def test_peft_reads_every_layer_s_rank_and_scale(rslora: bool) -> None:
    config = spell(lora_rank=4, rank_pattern="ffn=16", rslora=rslora)
    ranks = choose_ranks(config, PATHS)
    scales = {path: config.scale_at(rank) for path, rank in ranks.items()}
    fields = spell_ranks(ranks, scales, config)
    assert {path: read_rank(fields, path) for path in PATHS} == ranks
    assert {path: read_scale(fields, path) for path in PATHS} == pytest.approx(scales)
    assert fields["r"] == 4 and rank_of(config) == 16


@pytest.mark.parametrize("rslora", [False, True])
def test_a_pissa_is_saved_as_plain_lora_of_twice_the_rank(rslora: bool) -> None:
    config = spell(lora_rank=6, lora_init="pissa", rank_pattern="ffn=3", rslora=rslora)
    plain = as_plain(config)
    assert (plain.lora_init, plain.lora_rank, plain.rank_pattern) == (None, 12, "ffn=6")
    assert plain.scale_at(12) == pytest.approx(config.scale_at(6))
    assert rank_of(config) == 12


def test_a_warm_clone_of_a_pissa_goes_on_from_its_plain_adapter() -> None:
    sweep = compose("tiny", {"name": "x", "space": "lora_rank"})
    original = replace(spell(lora_rank=6, lora_init="pissa"), train_turns=100)
    warm = spell_clone(original, {"learning_rate": 1e-3}, True, sweep)
    assert (warm.lora_init, warm.lora_rank) == (None, 12)
    cold = spell_clone(original, {"learning_rate": 1e-3}, False, sweep)
    assert (cold.lora_init, cold.lora_rank) == ("pissa", 6)
    ranked = replace(original, lora_init=None, rank_pattern="ffn=3")
    with pytest.raises(ConfigError, match="--warm cannot change lora_rank"):
        spell_clone(ranked, {"lora_rank": 8}, True, sweep)
