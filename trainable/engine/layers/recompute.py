"""Layers whose activations are made again on the way back, in place of being kept: a tenth of the
memory for a third more work (Chen et al. 2016, arXiv 1604.06174)."""

from __future__ import annotations

from typing import Any

# no state of random numbers: there are none on the way, and a recording cannot read it
HOW = {"use_reentrant": False, "preserve_rng_state": False}


def begin_recomputing(model: Any) -> bool:
    """False: the model's layers do so already, or cannot. Where attention is told apart by the
    order of its calls (`OwnAttention`), a second call would be another layer's."""
    is_able = model.supports_gradient_checkpointing and model._supports_attention_backend
    if model.is_gradient_checkpointing or not is_able:
        return False
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=HOW)
    return True


def end_recomputing(model: Any) -> None:
    if model.is_gradient_checkpointing:
        model.gradient_checkpointing_disable()
