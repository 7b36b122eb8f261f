"""How a configuration must name layers so that peft takes every one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


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
