"""Why the packed engine cannot take a trial, told from its config and its model's config.json."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainable.model.adapter_fields import why_peft
from trainable.model.source import explained, locate
from trainable.trial import TrialConfig

# transformers' models whose attention cannot be told which tokens belong together
OWN_ATTENTION = frozenset(
    {"falcon", "mpt", "bloom", "codegen", "gptj", "gpt_neo", "mamba", "rwkv", "xglm"}
    | {"stablelm", "openai-gpt", "biogpt"}
)
BIASED_OUTPUT = frozenset({"phi"})


def why_alone(config: TrialConfig) -> str | None:
    """Why the trial runs alone, by transformers itself; None: the engine takes it. Raises
    ConfigError where the base model or the adapter is not there."""
    if config.method == "full":
        return "method=full trains the base model itself"
    brings = config.method == "none" and config.adapter is not None and not is_toy(config)
    if brings and (why := why_peft(Path(str(config.adapter)))):
        return why
    if is_embedded(config):
        return None
    shape = read_shape(config.base_model)
    if is_encoder_decoder(config):
        return "an encoder-decoder"
    if shape.get("model_type") in OWN_ATTENTION:
        return f"the attention of {shape['model_type']} is its own"
    if shape.get("model_type") in BIASED_OUTPUT:
        return f"the output layer of {shape['model_type']} has a bias"
    return None


def is_encoder_decoder(config: TrialConfig) -> bool:
    return not is_embedded(config) and bool(read_shape(config.base_model).get("is_encoder_decoder"))


def is_embedded(config: TrialConfig) -> bool:
    return config.base_model == "tiny" or is_toy(config)


@lru_cache(maxsize=64)
def read_shape(base_model: str) -> dict[str, Any]:
    """The model's config.json; empty for a GGUF file."""
    source = locate(base_model)
    if source.gguf_file is not None:
        return {}
    with explained(base_model):
        path = Path(source.name) / "config.json"
        if not Path(source.name).is_dir():
            from huggingface_hub import hf_hub_download

            path = Path(hf_hub_download(source.name, "config.json"))
        return dict(json.loads(path.read_text(encoding="utf-8")))


def is_toy(config: TrialConfig) -> bool:
    return config.base_model.partition(":")[0] == "toy"
