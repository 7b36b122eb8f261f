"""The model of a trial alone: what of it is trained, by the trial's method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainable.model.modules import resolve_modules
from trainable.trial import TrialConfig


def prepare(config: TrialConfig, model: Any) -> tuple[Any, tuple[str, ...]]:
    """The model ready to train what the method trains, and the modules it adapts."""
    if config.method == "full":
        return model.float().requires_grad_(True), ()
    if config.method == "lora":
        from peft import LoraConfig, get_peft_model

        assert config.lora_modules is not None and config.lora_rank is not None
        modules = resolve_modules(model, config.lora_modules)
        torch.manual_seed(config.seed)
        divisor = config.lora_rank**0.5 if config.rslora else config.lora_rank
        adapter = LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_scale * divisor,  # type: ignore[arg-type]
            lora_dropout=config.lora_dropout or 0.0,
            use_rslora=bool(config.rslora),
            target_modules=list(modules),
            task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM",
        )
        tuned = get_peft_model(model, adapter)
        if config.adapter is not None:  # it goes on from another's
            from safetensors.torch import load_file

            weights = load_file(Path(config.adapter) / "adapter_model.safetensors")
            load_weights(tuned, weights, "lora")
        return tuned, modules
    if config.adapter is not None:
        from peft import PeftModel

        return PeftModel.from_pretrained(model, config.adapter), ()
    return model, ()


def load_weights(model: Any, weights: dict[str, Tensor], method: str) -> None:
    if method == "lora":
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(model, weights)
    else:
        model.load_state_dict(weights, strict=False)  # tied weights are stored once
        model.tie_weights()
