"""Layers are replaced one by one: no weight in 16 bits outlives the layer that took its place."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from trainable.model import conv1d, quantise
from tune.bench import random_models

SIZES = {"num_hidden_layers": 4, "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 64}


def quantise_llama() -> None:
    quantise.quantise(LlamaForCausalLM(LlamaConfig(**SIZES, intermediate_size=128)), "nf4", True)


def turn_gpt2() -> None:
    conv1d.to_linear(GPT2LMHeadModel(GPT2Config(n_layer=4, n_embd=64, n_head=4, vocab_size=64)))


def build_random() -> None:
    random_models.build_model("toy", torch.device("cpu"))


@pytest.mark.parametrize(
    "room, replace, build",
    [
        (quantise, "to_quantised", quantise_llama),
        (conv1d, "put_transposed", turn_gpt2),
        (random_models, "to_quantised", build_random),
    ],
)
def test_a_replaced_layer_is_gone(
    room: Any, replace: str, build: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced: list[weakref.ref[torch.nn.Module]] = []
    alive = []
    genuine = getattr(room, replace)

    def watch(layer: torch.nn.Module, *rest: Any, **options: Any) -> torch.nn.Module:
        alive.append(sum(other() is not None for other in replaced))
        replaced.append(weakref.ref(layer))
        made: torch.nn.Module = genuine(layer, *rest, **options)
        return made

    monkeypatch.setattr(room, replace, watch)
    build()
    assert len(alive) >= 12 and max(alive) <= 1  # the one in hand
