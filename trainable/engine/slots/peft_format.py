"""A slot's adapter in peft's format: its configuration, its tensors' names, and back."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from trainable.engine.device.transfer import zeros_to_send
from trainable.engine.slots.bank import SlotBank
from trainable.engine.slots.rows import AdapterShape, RowLayout, SlotRange
from trainable.model.adapter_fields import check_adapter, list_modules, why_peft
from trainable.model.identity import KEY, Identity, check_identity
from trainable.model.peft_targets import list_as_parameters, spell_targets
from trainable.model.ranks import choose_ranks, spell_depth
from trainable.storage.adapter import WEIGHTS, read_adapter_config, read_origin
from trainable.storage.adapter_ranks import as_plain, read_rank, read_scale, spell_ranks
from trainable.trial import ConfigError, Setting, TrialConfig

PREFIX = "base_model.model."


def shape_adapter(config: TrialConfig, paths: Sequence[str], model: Any) -> AdapterShape:
    """The adapter that a config asks for among the linear layers, or the one that it brings. Raises
    ConfigError where that does not fit them."""
    if config.method == "lora":
        ranks = choose_ranks(config, paths)
        scales = {path: config.scale_at(rank) for path, rank in ranks.items()}
        is_dora = bool(config.dora)
    elif config.adapter is None:
        return AdapterShape()
    else:
        check_adapter(config)
        folder = Path(config.adapter)
        if why := why_peft(folder):
            raise ConfigError(f"{folder} runs by peft alone, not in an engine ({why})")
        modules, fields = list_modules(folder, tuple(paths)), read_adapter_config(folder)
        ranks = {path: read_rank(fields, path) for path in modules}
        scales = {path: read_scale(fields, path) for path in modules}
        is_dora = bool(fields.get("use_dora"))
    as_parameters = list_as_parameters(tuple(ranks), model)
    return AdapterShape(
        ranks=ranks,
        scales=scales,
        as_parameters=as_parameters,
        is_dora=is_dora,
        is_pissa=config.lora_init == "pissa",
    )


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
    root), arrives at each module's scale."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": config.base_model,
        **spell_ranks(shape.stored_ranks, shape.scales, as_plain(config)),
        # peft knows no dropout in front of what it takes as a parameter
        "lora_dropout": 0.0 if shape.as_parameters else config.lora_dropout or 0.0,
        **({"use_dora": True} if shape.is_dora else {}),
        **spell_targets(shape.modules, shape.as_parameters),
        **spell_depth(shape.modules, config),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }


def load_adapter(
    config: TrialConfig, shape: AdapterShape, base: Identity, bank: SlotBank, row: int
) -> None:
    """Fills a row from the adapter that the config brings. Raises ConfigError where that does not
    fit the base model or the config."""
    folder = Path(str(config.adapter))
    check_identity(read_origin(folder).get(KEY, {}), base, f"adapter {folder}")
    if config.method == "lora":
        check_adapter(config)
        check_modules(config, list_modules(folder, tuple(bank.layout.shapes)), shape.modules)
    put_tensors(shape, bank, bank.params, row, load_file(folder / WEIGHTS))
    fields = read_adapter_config(folder)
    for module, scale in shape.scales.items():
        if (ratio := read_scale(fields, module) / scale) != 1.0:  # starts as the same function
            bank.layout.pair(bank.params, module, row)[1].mul_(ratio)
    bank.average[row] = bank.params[row]


def view_tensors(
    shape: AdapterShape, layout: RowLayout, line: Tensor
) -> Iterator[tuple[str, list[Tensor], int]]:
    """Of a row's numbers [1, width]: peft's name of each tensor, views of the parts that make it,
    in its orientation, and along which axis: lora_A [rank, in], lora_B [out, rank], magnitudes
    [out]."""
    for module in shape.modules:
        (a, b), parts = layout.pair(line, module, 0), shape.parts(module)
        yield f"{module}.lora_A.weight", [a[:, part].T for part in parts], 0
        yield f"{module}.lora_B.weight", [b[part].T for part in parts], 1
        if shape.is_dora:
            magnitudes = layout.magnitudes(line, module, SlotRange(0, 1))[0]
            yield f"{module}.lora_magnitude_vector", [magnitudes], 0


def name_tensors(
    shape: AdapterShape, layout: RowLayout, line: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """A row's numbers [1, width] under peft's names, in its shapes."""
    for name, parts, axis in view_tensors(shape, layout, line):
        yield f"{PREFIX}{name}", torch.cat(parts, axis).contiguous()


@torch.no_grad()
def put_tensors(
    shape: AdapterShape, bank: SlotBank, rows: Tensor, row: int, values: dict[str, Tensor]
) -> None:
    """Lays peft's tensors out as a row of `rows` [slots, width]: on the host, and sent in one
    piece, behind what the device has to do. Raises ConfigError where a tensor is not there or of
    another shape."""
    line = zeros_to_send((1, bank.layout.width), bank.device)
    for name, parts, axis in view_tensors(shape, bank.layout, line):
        value, wanted = values.get(f"{PREFIX}{name}"), torch.cat(parts, axis).shape
        if value is None or value.shape != wanted:
            found = "is not there" if value is None else f"is {list(value.shape)}"
            raise ConfigError(
                f"an adapter must fit its base model: its {name.removesuffix('.weight')} {found}, "
                f"where {list(wanted)} belongs; give the base that it was made for (",
                *(Setting("base_model"), ")"),
            )
        for part, own in zip(parts, value.tensor_split(len(parts), axis), strict=True):
            part.copy_(own)
    rows[row].copy_(line[0], non_blocking=True)
