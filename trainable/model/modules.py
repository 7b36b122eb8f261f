"""The linear layers of a model that LoRA can adapt."""

from __future__ import annotations

from typing import Any

import torch

from trainable.model.peft_targets import list_found

# Kinds of models -> layers whose weights they read past the layer, and any adapter on it: kernels
# of state spaces (peft refuses them), and what Gemma 3n clips, in training alone.
PASSED = {
    **dict.fromkeys(
        ("falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h"), ("out_proj", "conv1d")
    ),
    **dict.fromkeys(("gemma3n", "gemma3n_text"), ("correction_coefs",)),
}


def list_linear_paths(model: torch.nn.Module) -> tuple[str, ...]:
    """Full paths of all linear layers (bitsandbytes' subclass nn.Linear) but the output layer and
    those that the model passes by or peft loses; of several modalities those of its text part."""
    find_output = getattr(model, "get_output_embeddings", lambda: None)
    output_layer = find_output()
    within = find_text_part(model)
    kind = getattr(getattr(model, "config", None), "model_type", None)
    passed = PASSED.get(str(kind), ())
    paths = tuple(
        path
        for path, module in model.named_modules()
        if is_adaptable(module) and module is not output_layer and path.startswith(within)
        if path.rpartition(".")[2] not in passed
    )
    return list_found(paths, model)


def find_text_part(model: Any) -> str:
    """The beginning of its layers' paths; "" where the model is nothing else."""
    config = getattr(model, "config", None)
    if config is None or config.get_text_config() is config or config.is_encoder_decoder:
        return ""
    decoder = model.get_decoder()
    return next((f"{path}." for path, m in model.named_modules() if m is decoder and path), "")


def is_adaptable(module: torch.nn.Module) -> bool:
    """A linear layer that gives its product and no more: routers of experts give tuples."""
    if not isinstance(module, torch.nn.Linear):
        return False
    known = ("bitsandbytes", "trainable.model.fp8")
    if type(module).forward is torch.nn.Linear.forward or type(module).__module__.startswith(known):
        return True
    weight = module.weight
    sample = torch.zeros(1, module.in_features, dtype=weight.dtype, device=weight.device)
    with torch.no_grad():
        return isinstance(module(sample), torch.Tensor)
