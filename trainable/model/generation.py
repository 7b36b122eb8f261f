"""What a model's makers recommend for its replies, which decides nothing here."""

from __future__ import annotations

from transformers import GenerationConfig

BORDERS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


def forget_generation(recommended: GenerationConfig) -> GenerationConfig:
    """Settings that leave everything open but where a reply begins and ends: `generate` takes what
    a trial does not name (beams, tokens that are forced or suppressed) from the model's own, and
    the same trial would be decoded otherwise on another base."""
    return GenerationConfig(**{name: getattr(recommended, name) for name in BORDERS})
