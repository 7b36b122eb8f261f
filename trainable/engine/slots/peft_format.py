"""A slot's adapter in peft's format: its configuration, its tensors' names, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from trainable.engine.device.transfer import zeros_to_send
from trainable.engine.slots.bank import AdapterShape, RowLayout, SlotBank
from trainable.model.adapter_fields import check_adapter, list_modules, why_peft
from trainable.model.identity import KEY, Identity, check_identity
from trainable.model.peft_targets import list_as_parameters, spell_targets
from trainable.model.selections import select_paths
from trainable.storage.adapter import WEIGHTS, read_adapter_config, read_origin, scale_of
from trainable.trial import ConfigError, Setting, TrialConfig

PREFIX = "base_model.model."


def shape_adapter(config: TrialConfig, paths: Sequence[str], model: Any) -> AdapterShape:
    """The adapter that a config asks for among the linear layers, or the one that it brings. Raises
    ConfigError where that does not fit them."""
    if config.method == "lora":
        assert config.lora_modules is not None and config.lora_rank is not None
        modules = select_paths(paths, config.lora_modules)
        rank, scale = config.lora_rank, config.lora_scale
    elif config.adapter is None:
        return AdapterShape((), 0, 0.0)
    else:
        check_adapter(config)
        folder = Path(config.adapter)
        if why := why_peft(folder):
            raise ConfigError(f"{folder} runs by peft alone, not in an engine ({why})")
        modules, fields = list_modules(folder, tuple(paths)), read_adapter_config(folder)
        rank, scale = int(fields["r"]), scale_of(fields)
    return AdapterShape(modules, rank, scale, list_as_parameters(modules, model))


def check_modules(config: TrialConfig, brought: Sequence[str], wanted: Sequence[str]) -> None:
    if set(brought) != set(wanted):
        odd = sorted(set(brought) ^ set(wanted))[0]
        having, lacking = ("adapter", "trial") if odd in brought else ("trial", "adapter")
        raise ConfigError(
            f"lora_modules must be the layers of the adapter to start from, {config.adapter}, and "
            f"{config.lora_modules!r} is not: {odd} is the {having}'s and not the {lacking}'s "
            "(",
            *(Setting("lora_modules"), ")"),
        )


def spell_config(config: TrialConfig, shape: AdapterShape) -> dict[str, Any]:
    """adapter_config.json. alpha is spelt so that peft, which divides it by the rank (or its
    root), arrives at the slot's scale."""
    divisor = shape.rank**0.5 if config.rslora else shape.rank
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": config.base_model,
        "r": shape.rank,
        "lora_alpha": shape.scale * divisor,
        # peft knows no dropout in front of what it takes as a parameter
        "lora_dropout": 0.0 if shape.as_parameters else config.lora_dropout or 0.0,
        "use_rslora": bool(config.rslora),
        **spell_targets(shape.modules, shape.as_parameters),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }


def load_adapter(
    config: TrialConfig, shape: AdapterShape, base: Identity, bank: SlotBank, row: int
) -> None:
    """Fills a row from the adapter that the config brings. Raises ConfigError where that does not
    fit the base model or the config."""
    folder, ratio = Path(str(config.adapter)), 1.0
    check_identity(read_origin(folder).get(KEY, {}), base, f"adapter {folder}")
    if config.method == "lora":
        check_adapter(config)
        check_modules(config, list_modules(folder, tuple(bank.layout.shapes)), shape.modules)
        ratio = scale_of(read_adapter_config(folder)) / shape.scale  # starts as the same function
    put_tensors(shape, bank, bank.params, row, load_file(folder / WEIGHTS))
    for module in shape.modules if ratio != 1.0 else ():
        bank.layout.pair(bank.params, module, row)[1].mul_(ratio)
    bank.average[row] = bank.params[row]


def name_tensors(
    shape: AdapterShape, layout: RowLayout, line: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """A row's numbers [1, width] under peft's names, in its shapes: lora_A [rank, in], lora_B
    [out, rank]."""
    for module in shape.modules:
        a, b = layout.pair(line, module, 0)
        yield f"{PREFIX}{module}.lora_A.weight", a[:, : shape.rank].T.contiguous()
        yield f"{PREFIX}{module}.lora_B.weight", b[: shape.rank].T.contiguous()


@torch.no_grad()
def put_tensors(
    shape: AdapterShape, bank: SlotBank, rows: Tensor, row: int, values: dict[str, Tensor]
) -> None:
    """Laid out on the host, and sent in one piece, behind what the device has to do. Raises
    ConfigError where a tensor is not there or of another shape."""
    line = zeros_to_send((1, bank.layout.width), bank.device)
    for module in shape.modules:
        a, b = bank.layout.pair(line, module, 0)
        for name, target in (("lora_A", a[:, : shape.rank]), ("lora_B", b[: shape.rank])):
            value = values.get(f"{PREFIX}{module}.{name}.weight")
            if value is None or value.T.shape != target.shape:
                found = "is not there" if value is None else f"is {list(value.shape)}"
                raise ConfigError(
                    f"an adapter must fit its base model: its {module}.{name} {found}, where "
                    f"{list(target.T.shape)} belongs; give the base that it was made for "
                    "(",
                    *(Setting("base_model"), ")"),
                )
            target.copy_(value.T)
    rows[row].copy_(line[0], non_blocking=True)
