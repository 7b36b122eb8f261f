"""Why the packed engine cannot take a trial, told from its config and its model's config.json."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from trainable.model.adapter_fields import why_peft
from trainable.model.source import explained, locate
from trainable.model.verdicts import DEVICES, key_of, recall_verdict
from trainable.system.hub import settle_network
from trainable.system.json_object import read_object
from trainable.trial import TrialConfig


def why_alone(config: TrialConfig) -> str | None:
    """Why the trial runs alone, by transformers itself; None: the engine takes it. Raises
    ConfigError where the base model or the adapter is not there."""
    if config.method == "full":
        return "method=full trains the base model itself"
    brings = config.method == "none" and config.adapter is not None and not is_toy(config)
    if brings and (why := why_peft(Path(str(config.adapter)))):
        return why
    if is_toy(config):
        return None
    if is_encoder_decoder(config):
        return "an encoder-decoder"
    return recall_difference(config)


def recall_difference(config: TrialConfig) -> str | None:
    """What an engine here has found that it does not compute as transformers does; None: nothing,
    or no engine has met the base model yet."""
    verdicts = (recall_verdict(key_of(config), device) for device in DEVICES)
    return next((v.reason for v in verdicts if v is not None and v.reason is not None), None)


def is_encoder_decoder(config: TrialConfig) -> bool:
    if is_toy(config) or config.base_model == "tiny":
        return False
    return bool(read_shape(config.base_model).get("is_encoder_decoder"))


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

            settle_network()
            path = Path(hf_hub_download(source.name, "config.json"))
        return read_object(path)


def is_toy(config: TrialConfig) -> bool:
    return names_toy(config.base_model)


def names_toy(base_model: str) -> bool:
    return base_model.partition(":")[0] == "toy"
