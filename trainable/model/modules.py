"""The linear layers of a model that LoRA can adapt."""

from __future__ import annotations

import torch

from trainable.model.selections import select_paths


def resolve_modules(model: torch.nn.Module, selection: str) -> tuple[str, ...]:
    """Full paths of the selected linear layers, in the model's order; never empty. Raises
    ConfigError as `select_paths` does."""
    return select_paths(list_linear_paths(model), selection)


def list_linear_paths(model: torch.nn.Module) -> tuple[str, ...]:
    """Full paths of all linear layers (bitsandbytes' subclass nn.Linear) but the output layer."""
    find_output = getattr(model, "get_output_embeddings", lambda: None)
    output_layer = find_output()
    return tuple(
        path
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not output_layer
    )
