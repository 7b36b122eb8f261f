"""An adapter put on its base by peft itself: all of it, or an error."""

from __future__ import annotations

import warnings
from dataclasses import fields as list_fields
from pathlib import Path
from typing import Any

import torch

from trainable.model.adapter_fields import SILENT, check_kind_of
from trainable.storage.adapter import read_adapter_config
from trainable.trial import ConfigError, Setting

SEED = 0  # of what an initialisation draws while the adapter is put in place
ERRORS = (ValueError, TypeError, KeyError, RuntimeError, AttributeError, ImportError)


def put_adapter(model: Any, folder: Path) -> Any:
    """The model with the adapter. Raises ConfigError, by the field or the tensor, where peft does
    not know it or finds no place for it."""
    check_known(folder)
    base = {id(module) for module in model.modules()}
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            torch.manual_seed(SEED)
            warnings.simplefilter("ignore")  # what they tell of, `check_whole` refuses
            tuned, left = load(model, folder)
    except ERRORS as error:
        told = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"{folder} does not fit its base model ({told}): give the base that it was made for (",
            *(Setting("base_model"), ")"),
        ) from error
    check_whole(left, folder)
    for module in tuned.modules():
        if id(module) not in base:  # the base keeps its mode
            module.training = False
    return tuned


def load(model: Any, folder: Path) -> tuple[Any, Any]:
    """(the model with its adapter, what peft had no place for or missed)."""
    from peft import PeftModel

    tuned = PeftModel.from_pretrained(model, str(folder))
    # read again into the same place: only this tells what was left over
    return tuned, tuned.load_adapter(str(folder), "default", torch_device="cpu")


def check_known(folder: Path) -> None:
    """Raises ConfigError at a field that this version of peft passes over."""
    import peft

    fields = read_adapter_config(folder)
    check_kind_of(fields, folder)
    known = {field.name for field in list_fields(peft.LoraConfig)} | SILENT
    for name, value in fields.items():
        if name not in known and value not in (None, False, {}, []):
            raise ConfigError(
                f"peft {peft.__version__} does not know the field {name}={value!r} of "
                f"{folder / 'adapter_config.json'}: update peft, or give another adapter"
            )


def check_whole(left: Any, folder: Path) -> None:
    """Raises ConfigError unless every tensor of the file has a place and every place a tensor."""
    if left.unexpected_keys:
        raise ConfigError(
            f"peft finds no place for {len(left.unexpected_keys)} of the tensors of {folder} "
            f"({left.unexpected_keys[0]} first): correct target_modules in adapter_config.json, or "
            "give the base that it was made for"
        )
    if left.missing_keys:
        raise ConfigError(
            f"{folder} must hold a tensor of every layer that adapter_config.json names, and holds "
            f"none for {left.missing_keys[0]}: give a whole adapter"
        )
