"""Which rank each of a model's linear layers has in a trial's adapter, told from their paths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from trainable.model.selections import SELECTIONS, is_selected, select_paths
from trainable.rank_pattern import DEPTHS, parse_rank_pattern
from trainable.trial import ConfigError, Setting, TrialConfig, nearest

NUMBER = re.compile(r"\.(\d+)\.")  # the first of a path: which of the model's blocks


def choose_ranks(config: TrialConfig, paths: Sequence[str]) -> dict[str, int]:
    """Path -> rank of the layers that carry the adapter, in the model's order; never empty. Raises
    ConfigError where a selection, a depth or a part of the pattern takes none of the layers."""
    assert config.lora_modules is not None and config.lora_rank is not None
    chosen = select_paths(paths, config.lora_modules)
    if config.lora_layers not in (None, "all"):
        chosen = select_depth(chosen, paths, config.lora_layers)
    pattern = parse_rank_pattern(config.rank_pattern)
    n_blocks = count_blocks(paths)
    for name in pattern:
        if not any(fits(name, path, n_blocks) for path in paths):
            raise no_layer(name, paths)
    return {
        path: next((r for n, r in pattern.items() if fits(n, path, n_blocks)), config.lora_rank)
        for path in chosen
    }


def select_depth(chosen: Sequence[str], paths: Sequence[str], depth: str) -> tuple[str, ...]:
    n_blocks = count_blocks(paths)
    kept = tuple(path for path in chosen if is_at(path, depth, n_blocks))
    if not kept:
        raise ConfigError(
            f"lora_layers={depth} must leave a layer to adapt, and leaves none of {len(chosen)} in "
            f"{n_blocks} blocks (",
            *(Setting("lora_layers", "all"), ")"),
        )
    return kept


def spell_depth(paths: Sequence[str], config: TrialConfig) -> dict[str, Any]:
    """The field of adapter_config.json that names the blocks, where a trial adapts some of them."""
    if config.lora_layers in (None, "all"):
        return {}
    return {"layers_to_transform": sorted({block_of(path) for path in paths})}


def no_layer(name: str, paths: Sequence[str]) -> ConfigError:
    known = (*SELECTIONS, *DEPTHS, *dict.fromkeys(path.rpartition(".")[2] for path in paths))
    return ConfigError(
        f"rank_pattern names {name!r}, which is no layer of the model{nearest(name, known)}: take "
        f"one of {', '.join(known)} (",
        *(Setting("rank_pattern"), ")"),
    )


def fits(name: str, path: str, n_blocks: int) -> bool:
    """Whether a part of a pattern is about the layer at that path."""
    if name in SELECTIONS:
        return is_selected(path, name)
    if name in DEPTHS:
        return is_at(path, name, n_blocks)
    return path.rpartition(".")[2] == name


def count_blocks(paths: Sequence[str]) -> int:
    return 1 + max((block_of(path) for path in paths), default=-1)


def block_of(path: str) -> int:
    """Of which block, counted from 0; -1: of none."""
    found = NUMBER.search(path)
    return int(found[1]) if found else -1


def is_at(path: str, depth: str, n_blocks: int) -> bool:
    """Whether the layer's block is there; the middle one of an odd number is in the first half.

    >>> [is_at(f"layers.{i}.q", "every-second", 5) for i in range(5)]
    [False, True, False, True, False]
    """
    block = block_of(path)
    if depth == "every-second":
        return block % 2 == 1 and block >= 0
    is_first = 2 * block < n_blocks
    return block >= 0 and is_first == (depth == "first-half")
