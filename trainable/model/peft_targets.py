"""How a configuration must name layers so that peft takes every one of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

NUMBERS = re.compile(r"\.\d+\.")


def list_as_parameters(paths: Sequence[str], model: Any) -> tuple[str, ...]:
    """Those of the layers that peft would leave out if `target_modules` named them.

    For mixtures of experts peft reads `gate_proj` and its like as the experts' stacked weights,
    which had these names before transformers 5, and forgets the dense layers and shared experts
    that still have them. Named by their weight, as `target_parameters`, they are found."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    kind = getattr(model.config, "model_type", None)
    if kind is None or get_checkpoint_conversion_mapping(kind) is None:
        return ()
    leaves = {path.rpartition(".")[2] for path in paths}
    kept = {leaf for leaf in leaves if is_kept(leaf, model)}
    return tuple(path for path in paths if path.rpartition(".")[2] not in kept)


def list_found(paths: Sequence[str], model: Any) -> tuple[str, ...]:
    """Those of the layers whose adapter peft finds again in the file that it wrote itself.

    It reads the names in there as a checkpoint's, and renames what a checkpoint calls otherwise;
    of Laguna's shared experts, which a checkpoint calls `shared_expert`, nothing is found."""
    kind = getattr(getattr(model, "config", None), "model_type", None)
    if kind is None or not paths:
        return tuple(paths)
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    if get_checkpoint_conversion_mapping(kind) is None:
        return tuple(paths)
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import (
        convert_peft_adapter_state_dict_for_transformers,
    )

    # of the blocks, which are alike, one each
    examples = {NUMBERS.sub(".", path): path for path in paths}
    names = {f"base_model.model.{path}.lora_A.weight": path for path in examples.values()}
    config, made = LoraConfig(target_modules=list(paths)), torch.zeros(1, 1)
    read = convert_peft_adapter_state_dict_for_transformers(
        model, config, dict.fromkeys(names, made)
    )
    found = {NUMBERS.sub(".", path) for name, path in names.items() if name in read}
    return tuple(path for path in paths if NUMBERS.sub(".", path) in found)


def is_kept(leaf: str, model: Any) -> bool:
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    config = LoraConfig(target_modules=[leaf])
    try:
        convert_peft_config_for_transformers(config, model=model, conversions=None)
    except ValueError:  # fused with others that are not named
        return False
    return leaf in (config.target_modules or ())


def spell_targets(paths: Sequence[str], as_parameters: Sequence[str]) -> dict[str, Any]:
    """The fields of adapter_config.json that name the layers at those paths.

    >>> spell_targets(["a.q_proj", "a.gate_proj"], ["a.gate_proj"])
    {'target_modules': ['a.q_proj'], 'target_parameters': ['a.gate_proj.weight']}
    """
    modules = [path for path in paths if path not in set(as_parameters)]
    if not as_parameters:
        return {"target_modules": modules}
    return {
        "target_modules": modules,
        "target_parameters": [f"{path}.weight" for path in as_parameters],
    }
