"""A base model without its weights: what its layers are called and how large they are."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from trainable.model.source import explained, locate
from trainable.system.environment import trusts_remote_code

# weights of many experts, stacked in one: no linear layers of their own
EXPERTS = re.compile(r"(^|\.)\w*experts?\.|(^|\.)moe\.(input|output)_linear")


def build_empty(base_model: str) -> Any:
    """On torch's device meta. Raises ConfigError where its configuration cannot be had."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    with explained(base_model):
        trust = trusts_remote_code()
        config = AutoConfig.from_pretrained(locate(base_model).name, trust_remote_code=trust)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        with torch.device("meta"):
            return kind.from_config(config, trust_remote_code=trust)


def count_experts(model: nn.Module) -> int:
    """Parameters of stacked experts; shared ones are linear layers as any others."""
    linear = {id(layer.weight) for layer in model.modules() if isinstance(layer, nn.Linear)}
    return sum(
        weight.numel()
        for name, weight in model.named_parameters()
        if EXPERTS.search(name) and id(weight) not in linear
    )
