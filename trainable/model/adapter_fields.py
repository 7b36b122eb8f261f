"""What an adapter's files say, field by field and tensor by tensor: what the engine computes, what
peft alone does, and what is refused. Nothing of it is passed over.

Fields: https://huggingface.co/docs/peft/package_reference/lora#peft.LoraConfig
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from trainable.model.identity import KEY, check_base_of
from trainable.model.source import OUTSIDE
from trainable.storage.adapter import (
    check_shape,
    read_adapter_config,
    read_origin,
    read_tensor_shapes,
)
from trainable.trial import ConfigError, Setting, TrialConfig

# fields that the engine computes as they say, whatever they say
COMPUTED = frozenset(
    {"peft_type", "task_type", "r", "lora_alpha", "use_rslora", "base_model_name_or_path"}
    | {"target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"}
    | {"rank_pattern", "alpha_pattern", "use_dora"}
)
# fields that decide nothing of what a trained adapter computes
SILENT = frozenset(
    {"auto_mapping", "inference_mode", "lora_dropout", "megatron_core", "peft_version"}
    | {"qalora_group_size", "revision", "runtime_config"}
)
# field -> values under which it changes nothing; of others: what is empty, or false
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "bias": ("none",),
    # the other ways change the base's weights when the adapter is put in place
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal"),
}
DRAWN = "pissa_niter_"  # its singular vectors are estimated from random ones
TASKS = (None, "CAUSAL_LM", "SEQ_2_SEQ_LM")
TARGETS = (  # fields that name layers
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    "target_parameters",
)
PLAIN_TENSOR = re.compile(r"base_model\.model\.(.+)\.lora_([AB]\.weight|magnitude_vector)")
EXPERTS = re.compile(r"\.experts\.")  # stacked in one weight: no layers of their own


def check_adapter(config: TrialConfig) -> None:
    """All that can be known of a trial's adapter without its base model. Raises ConfigError, by the
    field, where it is no LoRA, or one that the trial cannot go on with."""
    if config.adapter is None:
        return
    if config.method == "full":
        raise ConfigError(
            "method=full trains the base model itself and starts from no adapter: leave out ",
            Setting("adapter"),
        )
    folder = Path(config.adapter)
    fields = read_adapter_config(folder)
    check_kind_of(fields, folder)
    told = read_origin(folder).get(KEY, {})
    check_base_of(told, fields.get("base_model_name_or_path"), config)
    if not read_tensor_shapes(folder):
        raise ConfigError(f"{folder} holds an adapter without weights: give another")
    if config.method != "lora":
        return
    if why := why_peft(folder):
        raise ConfigError(
            f"only a plain LoRA adapter can be trained on, and {folder} is none ({why}): decode "
            "with it (",
            *(Setting("method", "none"), "), or start from another (", Setting("adapter"), ")"),
        )
    if bool(config.dora) != bool(fields.get("use_dora")):
        value = "false" if config.dora else "true"
        raise ConfigError(
            f"dora must be what it is in the adapter to start from, {value}: give ",
            Setting("dora", value),
        )
    if config.lora_rank != fields["r"]:
        raise ConfigError(
            f"lora_rank must be that of the adapter to start from, {fields['r']}, not "
            f"{config.lora_rank}: give ",
            Setting("lora_rank", str(fields["r"])),
        )


def check_kind_of(fields: Mapping[str, Any], folder: Path) -> None:
    """Raises ConfigError where the configuration is not that of a LoRA on a language model."""
    place = f"{folder / 'adapter_config.json'}"
    if fields.get("peft_type") != "LORA":
        raise ConfigError(f"peft_type must be LORA, and is {fields.get('peft_type')!r} in {place}")
    if fields.get("task_type") not in TASKS:
        raise ConfigError(
            f"task_type must be CAUSAL_LM or SEQ_2_SEQ_LM, and is {fields['task_type']!r} in "
            f"{place}: such an adapter gives no replies"
        )
    if str(fields.get("init_lora_weights")).startswith(DRAWN):
        raise ConfigError(
            "init_lora_weights must be one that takes the same part off the base's weights every "
            f"time, and {fields['init_lora_weights']!r} in {place} draws it at random: save it as "
            "a plain LoRA (save_pretrained with path_initial_model_for_weight_conversion)"
        )
    if fields.get("megatron_config"):
        raise ConfigError(
            f"megatron_config must be empty, and is not in {place}: with it peft runs a package "
            "that megatron_core names"
        )
    if not isinstance(fields.get("base_model_name_or_path"), str | None):
        raise ConfigError(f"base_model_name_or_path must be a text in {place}")
    check_shape(fields, folder)
    for name in TARGETS:
        check_target(name, fields.get(name), place)


def check_target(name: str, value: Any, place: str) -> None:
    """Raises ConfigError where it can name no layers: it is a text (a pattern), or a list."""
    parts = value if isinstance(value, list) else [value]
    is_named = all(isinstance(part, str | int | None) for part in parts)
    try:
        re.compile(value if isinstance(value, str) else "")
    except re.error:
        is_named = False
    if not is_named:
        raise ConfigError(
            f"{name} must be a pattern or names of layers, and is {value!r:.60} in {place}"
        )


def why_peft(folder: Path) -> str | None:
    """Why the engine cannot compute the adapter, by its field or tensor; None: it can. Raises
    ConfigError where its files cannot be read."""
    for name, value in read_adapter_config(folder).items():
        if not is_computed(name, value):
            told = repr(value)
            return f"the adapter's {name}={told if len(told) <= 60 else told[:57] + '...'}"
    has_magnitudes = bool(read_adapter_config(folder).get("use_dora"))
    for name in read_tensor_shapes(folder):
        found = PLAIN_TENSOR.fullmatch(name)
        if found and found[2] == "magnitude_vector" and not has_magnitudes:
            found = None
        if not found or OUTSIDE.search(found[1]) or EXPERTS.search(f".{found[1]}."):
            return f"the adapter's tensor {name}"
    return None


def is_computed(name: str, value: Any) -> bool:
    """Whether the engine computes what the field says.

    >>> is_computed("r", 8), is_computed("use_dora", True), is_computed("use_dora", False)
    (True, True, True)
    """
    if name == "target_parameters":  # a layer's whole weight
        return all(str(parameter).endswith(".weight") for parameter in value or ())
    return name in COMPUTED | SILENT or value in NEUTRAL.get(name, (None, False, {}, [], ""))


def list_modules(folder: Path, paths: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the model's linear layers that a plain adapter changes, in the model's order: as its
    tensors say, and as peft reads its configuration. Raises ConfigError where the two differ or a
    layer is not there."""
    named = {m[1] for name in read_tensor_shapes(folder) if (m := PLAIN_TENSOR.fullmatch(name))}
    if unknown := sorted(named - set(paths)):
        raise ConfigError(
            f"{folder} changes layers that the base model does not have ({unknown[0]} first; its "
            f"own are {paths[0]} and others): give the base that it was made for"
        )
    fields = read_adapter_config(folder)
    targeted = {path for path in paths if is_targeted(fields, path)}
    targets = ", ".join(f"{n}={fields[n]!r}" for n in TARGETS if fields.get(n))
    if without := sorted(targeted - named):
        raise ConfigError(
            f"{folder} must hold a tensor of every layer that its configuration names "
            f"({targets[:200]}), and holds none of {without[0]}: give a whole adapter"
        )
    if beside := sorted(named - targeted):
        raise ConfigError(
            f"{folder} must name every layer that it holds tensors of, and its configuration "
            f"({targets[:200]}) leaves out {beside[0]}: correct adapter_config.json"
        )
    return tuple(path for path in paths if path in named)


def is_targeted(fields: Mapping[str, Any], path: str) -> bool:
    """Whether peft, by that configuration, adapts the linear layer at the path."""
    from peft.tuners.tuners_utils import check_target_module_exists

    weight = f".{path}.weight"
    if any(weight.endswith(f".{name}") for name in fields.get("target_parameters") or ()):
        return True
    modules = fields.get("target_modules") or ()
    if modules == "all-linear":
        return True
    read = {**{name: fields.get(name) for name in TARGETS}, "target_modules": modules}
    try:
        return bool(check_target_module_exists(SimpleNamespace(**read), path))
    except (re.error, TypeError) as error:
        raise ConfigError(
            f"target_modules must be names or a pattern of layers, and {modules!r} is none "
            f"({error}): correct adapter_config.json"
        ) from error
