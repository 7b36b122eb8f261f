"""The adapter merged into the base it was trained on, checked, and set against the usual merge.

A 4-bit base is first brought back to the values that it stood for in training. Merging into the
original weights instead gives another model: by how much is measured here.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from trainable.model.base import FOUR_BIT, BaseSpec, build_model
from trainable.model.conv1d import to_stored
from trainable.model.packable import is_encoder_decoder
from trainable.model.quantise import dequantise, drop_quantiser
from trainable.model.source import explained, locate
from trainable.solo.adapter import put_adapter
from trainable.trial import ConfigError, TrialConfig
from tune.export.choice import Choice
from tune.export.probe import (
    Probe,
    check_predictions,
    check_replies,
    measure,
    measure_divergence,
    noisy,
    pick_windows,
    share_equal,
)
from tune.export.tokens import Tokens

SHARD = "2GB"
EXACT_RESIDENCIES = ("", "dequantized", "fp32")  # of a base: the numbers that are merged into


def write_merged(
    choice: Choice, tokens: Tokens, generation: GenerationConfig, dtype_name: str, folder: Path
) -> dict[str, Any]:
    """Writes the model into the folder in the type called so, reads it back, and returns the
    figures. Raises ConfigError where the quantisation cannot be merged or what is read differs."""
    check_mergeable(choice.config, "--merged")
    dtype = getattr(torch, dtype_name)
    model = write_shards(choice, tokens, dtype, folder)
    windows, recorded = pick_windows(choice, tokens)
    probe = measure(model, tokens, windows, generation)
    is_greedy = choice.config.decoding == "greedy"
    figures: dict[str, Any] = {
        "dtype": dtype_name,
        "dialogues": len({window.dialogue_id for window in windows}),
        "turns": len(recorded),
        "replies_as_recorded": share_equal(probe.replies, recorded) if is_greedy else None,
        "replies_as_unmerged": None,  # where the records alone do not decide
        "replies_under_noise": None,  # the same, with every layer's output rounded otherwise
    }
    if not is_greedy or not is_exact(choice, dtype):
        unmerged = measure(attach(choice, dtype), tokens, windows, generation)
        figures["replies_as_unmerged"] = share_equal(probe.replies, unmerged.replies)
    if not is_exact(choice, dtype):
        with noisy(model):
            shaken = measure(model, tokens, windows, generation)
        figures["replies_under_noise"] = share_equal(probe.replies, shaken.replies)
        check_predictions(measure_divergence(probe, unmerged), measure_divergence(probe, shaken))
    check_replies(figures, exact=is_exact(choice, dtype))
    if choice.config.quantisation not in FOUR_BIT:
        return figures
    other = merge(choice, "fp32" if dtype == torch.float32 else "bf16", dtype)
    other_probe = measure(other, tokens, windows, generation)
    return {**figures, "original_weights": set_apart(model, probe, other, other_probe)}


def check_mergeable(config: TrialConfig, flag: str) -> None:
    """Raises ConfigError where no merged weights compute what the trial did."""
    if config.quantisation == "int8" or config.base_products == "fp8":
        rounds = "int8" if config.quantisation == "int8" else "base_products=fp8"
        raise ConfigError(
            f"{flag} needs a base in nf4, fp4, bf16 or fp32 whose products are not in 8 bits: "
            f"{rounds} rounds the activations too, so that no merged weights compute the same"
        )
    if is_encoder_decoder(config):
        raise ConfigError(
            f"{flag} needs a decoder-only model: an encoder-decoder goes out as an adapter"
        )


def write_shards(
    choice: Choice, tokens: Tokens, dtype: torch.dtype, folder: Path
) -> PreTrainedModel:
    """Merges, writes, and returns the model as transformers reads it back."""
    merged = merge(choice, choice.config.quantisation, dtype)
    merged.save_pretrained(folder, max_shard_size=SHARD)
    tokens.tokenizer.save_pretrained(folder)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    check_equal(merged.state_dict(), model.state_dict())
    return model


def merge(choice: Choice, quantisation: str, dtype: torch.dtype) -> PreTrainedModel:
    """The base, quantised and brought back (or not quantised), plus the adapter; added up in
    fp32 and rounded once; its layers as the architecture stores them."""
    whole: PreTrainedModel = cast(add_up(choice, quantisation, dtype), dtype)
    to_stored(whole)
    return whole


def add_up(choice: Choice, quantisation: str, dtype: torch.dtype) -> Any:
    """The same in fp32, on the base's weights as they are in `dtype`."""
    base = cast(load_values(choice.config, quantisation, dtype), torch.float32)
    return put_adapter(base, choice.checkpoint).merge_and_unload()


def attach(choice: Choice, dtype: torch.dtype) -> Any:
    """The same base with the adapter beside it, by peft."""
    base = cast(load_values(choice.config, choice.config.quantisation, dtype), dtype)
    return put_adapter(base, choice.checkpoint).eval()


def is_exact(choice: Choice, dtype: torch.dtype) -> bool:
    """Whether nothing is rounded on the way: fp32, on the very numbers that are merged into."""
    resolved = choice.trial.resolved
    residency = resolved.base_residency if resolved else ""
    return dtype == torch.float32 and residency in EXACT_RESIDENCIES


def cast(model: Any, dtype: torch.dtype) -> Any:
    """The parameters in that type; buffers (rotary frequencies) keep theirs, as on loading."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model.eval()


def load_values(config: TrialConfig, quantisation: str, dtype: torch.dtype) -> Any:
    """The base's weights on the CPU as plain numbers; 4-bit ones exactly as they dequantise."""
    is_four_bit = quantisation in FOUR_BIT
    spec = BaseSpec(
        base_model=config.base_model,
        initialisation=config.initialisation,
        quantisation=quantisation,
        double_quantisation=config.double_quantisation if is_four_bit else None,
        device="cpu",
    )
    source = locate(config.base_model)
    with explained(config.base_model):
        trust = spec.trust_remote_code
        shape = AutoConfig.from_pretrained(source.name, trust_remote_code=trust, **source.arguments)
        model = build_model(spec, source, shape, dtype, torch.device("cpu"))
    if is_four_bit:
        dequantise(model, dtype)
        drop_quantiser(model)
    return model


def check_equal(expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    differing = [n for n, v in expected.items() if n not in found or not torch.equal(v, found[n])]
    if differing:
        raise ConfigError(
            f"the merged model read back differs from what was written in {len(differing)} "
            f"tensors ({differing[0]} first): check the disk of --out"
        )


def set_apart(
    model: PreTrainedModel, probe: Probe, other: PreTrainedModel, other_probe: Probe
) -> dict[str, float]:
    """How far the adapter on the original weights is from the merged model."""
    return {
        "weight_distance": round(weight_distance(model, other), 6),
        "kl_nats_per_token": round(measure_divergence(probe, other_probe), 6),
        "same_replies": share_equal(probe.replies, other_probe.replies),
    }


@torch.no_grad()
def weight_distance(model: PreTrainedModel, other: PreTrainedModel) -> float:
    """The norm of the difference over the norm of `other`, all weights taken together."""
    values = dict(other.named_parameters())
    pairs = [(p.float(), values[name].float()) for name, p in model.named_parameters()]
    apart = sum(float((a - b).square().sum()) for a, b in pairs)
    return (apart / sum(float(b.square().sum()) for _, b in pairs)) ** 0.5
