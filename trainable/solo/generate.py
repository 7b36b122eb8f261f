"""How transformers' `generate` replies for a trial alone: its prompts, settings and draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList

from trainable.corpus.encode import Window
from trainable.engine.decode.sampling import Drawn, make_key
from trainable.model.special_ids import SpecialIds
from trainable.trial import TrialConfig

Prompt = tuple[str, int, list[int]]  # dialogue, system turn, tokens in front of its reply


def list_prompts(window: Window) -> Iterator[Prompt]:
    for turn, prefix in zip(window.turns, window.prompts, strict=True):
        yield window.dialogue_id, turn, window.ids[:prefix].tolist()


def choose_drawn(
    config: TrialConfig, batch: Sequence[Prompt], device: torch.device
) -> LogitsProcessorList:
    """Where replies are sampled, the draws of each: of (seed, dialogue, turn) alone."""
    if config.decoding != "sampling":
        return LogitsProcessorList()
    keys = [make_key(config, dialogue, turn) for dialogue, turn, _ in batch]
    return LogitsProcessorList([Drawn(config, torch.tensor(keys, device=device))])


def spell_generation(config: TrialConfig, special: SpecialIds) -> GenerationConfig:
    """The config's decoding in transformers' words."""
    beams = {}
    if config.decoding == "beam":
        penalty = 1.0 if config.length_penalty is None else config.length_penalty
        beams = {"num_beams": config.num_beams, "length_penalty": penalty}
    return GenerationConfig(
        do_sample=False,  # draws are chosen by `Drawn`
        **spell_shaping(config, special),
        **beams,
    )


def spell_shaping(config: TrialConfig, special: SpecialIds) -> dict[str, Any]:
    """How replies end and what shapes their scores, whatever way they are decoded."""
    return {
        "max_new_tokens": config.max_new_tokens,
        "min_new_tokens": config.min_new_tokens or None,
        "sequence_bias": special.spell_bias(config.placeholder_bias),
        "repetition_penalty": config.repetition_penalty,
        "no_repeat_ngram_size": config.no_repeat_ngram_size,
        "eos_token_id": special.eos,
        "pad_token_id": special.pad,
    }


@contextmanager
def quiet_dropout(model: Any) -> Iterator[None]:
    """Adapters without dropout for a while; the base has none, and keeps its mode."""
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    for layer in layers:
        layer.eval()
    try:
        yield
    finally:
        for layer in layers:
            layer.train()
