"""The model of a trial alone: what of it is trained, by the trial's method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainable.model.adapter_fields import check_adapter
from trainable.model.base import Base
from trainable.model.identity import KEY, check_identity
from trainable.model.modules import resolve_modules
from trainable.model.peft_targets import list_as_parameters, spell_targets
from trainable.solo.adapter import put_adapter
from trainable.storage.adapter import WEIGHTS, read_adapter_config, read_origin, scale_of
from trainable.trial import ConfigError, Setting, TrialConfig


def prepare(config: TrialConfig, base: Base) -> tuple[Any, tuple[str, ...]]:
    """The model ready to train what the method trains, and the modules it adapts. Raises
    ConfigError where an adapter that is brought along does not fit."""
    model: Any = base.model
    if config.adapter is not None:
        check_adapter(config)
        told = read_origin(Path(config.adapter)).get(KEY, {})
        check_identity(told, base.identity, f"adapter {config.adapter}")
    if config.method == "full":
        return model.float().requires_grad_(True), ()
    if config.method == "lora":
        from peft import LoraConfig, get_peft_model

        assert config.lora_modules is not None and config.lora_rank is not None
        modules = resolve_modules(model, config.lora_modules)
        as_parameters = list_as_parameters(modules, model)
        if as_parameters and config.lora_dropout:
            raise ConfigError(
                f"lora_dropout must be 0 where peft adapts a layer by its weight, as it does "
                f"{as_parameters[0]} of {config.base_model}: give ",
                Setting("lora_dropout", "0"),
            )
        torch.manual_seed(config.seed)
        divisor = config.lora_rank**0.5 if config.rslora else config.lora_rank
        adapter = LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_scale * divisor,  # type: ignore[arg-type]
            lora_dropout=config.lora_dropout or 0.0,
            use_rslora=bool(config.rslora),
            **spell_targets(modules, as_parameters),
            task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM",
        )
        tuned = get_peft_model(model, adapter)
        if config.adapter is not None:
            go_on(tuned, Path(config.adapter), config.lora_scale)
        return tuned, modules
    if config.adapter is not None:
        return put_adapter(model, Path(config.adapter)), ()
    return model, ()


def go_on(tuned: Any, folder: Path, scale: float) -> None:
    """Gives fresh adapters the weights of a plain one, whatever its alpha: the trial starts as the
    same function. Raises ConfigError where the layers or shapes are others."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    weights = load_file(folder / WEIGHTS)
    own = get_peft_model_state_dict(tuned, save_embedding_layers=False)
    for name in sorted({*weights, *own}):
        if name not in weights or name not in own or weights[name].shape != own[name].shape:
            raise ConfigError(
                f"lora_modules must be the layers of the adapter to start from, {folder}, on the "
                f"base that it was made for, and differ at {name} (",
                *(Setting("lora_modules"), ")"),
            )
    ratio = scale_of(read_adapter_config(folder)) / scale
    scaled = {n: w * ratio if ".lora_B." in n else w for n, w in weights.items()}
    load_weights(tuned, scaled, "lora")


def load_weights(model: Any, weights: dict[str, Tensor], method: str) -> None:
    if method == "lora":
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(model, weights)
    else:
        model.load_state_dict(weights, strict=False)  # tied weights are stored once
        model.tie_weights()
