"""The model of a trial alone: what of it is trained, by the trial's method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainable.model.adapter_fields import check_adapter
from trainable.model.base import Base
from trainable.model.identity import KEY, check_identity
from trainable.model.modules import list_linear_paths
from trainable.model.peft_targets import list_as_parameters, spell_targets
from trainable.model.ranks import choose_ranks, spell_depth
from trainable.solo.adapter import put_adapter
from trainable.solo.pissa import Beginning
from trainable.storage.adapter import WEIGHTS, read_adapter_config, read_origin
from trainable.storage.adapter_ranks import read_scale, spell_ranks
from trainable.trial import ConfigError, Setting, TrialConfig

PREFIX, LORA_A, LORA_B = "base_model.model.", ".lora_A.", ".lora_B."


@dataclass(frozen=True)
class Prepared:
    """A model ready to train what its trial's method trains."""

    model: Any
    modules: tuple[str, ...] = ()  # adapted
    beginning: Beginning | None = None  # of a PiSSA

    def save(self, folder: Path) -> None:
        """As transformers writes a model, or peft an adapter."""
        self.model.save_pretrained(folder)
        if self.beginning is not None:
            self.beginning.write(folder)

    def load(self, weights: dict[str, Tensor]) -> None:
        """What `save` wrote: by name, each of its parameter's shape [...]."""
        if self.beginning is not None:
            weights = self.beginning.read(weights)
        load_weights(self.model, weights, "lora" if self.modules else "full")


def prepare(config: TrialConfig, base: Base) -> Prepared:
    """The trial's model. Raises ConfigError where an adapter that is brought along does not fit."""
    model: Any = base.model
    if config.adapter is not None:
        check_adapter(config)
        told = read_origin(Path(config.adapter)).get(KEY, {})
        check_identity(told, base.identity, f"adapter {config.adapter}")
    if config.method == "full":
        return Prepared(model.float().requires_grad_(True))
    if config.method == "lora":
        return add_lora(config, model)
    return Prepared(model if config.adapter is None else put_adapter(model, Path(config.adapter)))


def add_lora(config: TrialConfig, model: Any) -> Prepared:
    """With a fresh adapter by peft, or the one that the trial goes on from."""
    from peft import LoraConfig, get_peft_model

    ranks = choose_ranks(config, list_linear_paths(model))
    modules = tuple(ranks)
    as_parameters = list_as_parameters(modules, model)
    check_as_parameters(config, as_parameters)
    torch.manual_seed(config.seed)
    scales = {path: config.scale_at(rank) for path, rank in ranks.items()}
    adapter = LoraConfig(
        **spell_ranks(ranks, scales, config),
        lora_dropout=config.lora_dropout or 0.0,
        use_dora=bool(config.dora),
        **spell_targets(modules, as_parameters),
        **spell_depth(modules, config),
        task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM",
    )
    tuned = get_peft_model(model, adapter)
    if config.adapter is not None:
        go_on(tuned, Path(config.adapter), scales)
    is_pissa = config.lora_init == "pissa"
    return Prepared(tuned, modules, Beginning(tuned, config, ranks, scales) if is_pissa else None)


def check_as_parameters(config: TrialConfig, as_parameters: Sequence[str]) -> None:
    """Raises ConfigError for what peft cannot do where it adapts a layer by its weight."""
    for name, off in (
        (("lora_dropout", 0), ("lora_init", "uniform"), ("dora", False)) if as_parameters else ()
    ):
        if getattr(config, name) not in (None, off):
            raise ConfigError(
                f"{name} must be {off} where peft adapts a layer by its weight, as it does "
                f"{as_parameters[0]} of {config.base_model}: give ",
                Setting(name, str(off)),
            )


def group_by_rate(
    trained: Mapping[str, Tensor], config: TrialConfig
) -> tuple[list[dict[str, Any]], tuple[float, ...]]:
    """AdamW's groups of parameters, A [rank, in] apart from B [out, rank], and what each one's rate
    is multiplied by: B's is another (LoRA+, arXiv 2402.12354)."""
    if config.lora_plus_ratio is None:
        return [{"params": list(trained.values())}], (1.0,)
    a = [parameter for name, parameter in trained.items() if LORA_A in name]
    others = [parameter for name, parameter in trained.items() if LORA_A not in name]
    return [{"params": a}, {"params": others}], (1.0, config.lora_plus_ratio)


def go_on(tuned: Any, folder: Path, scales: Mapping[str, float]) -> None:
    """Gives fresh adapters the weights of a plain one, whatever its alpha: the trial starts as the
    same function. Raises ConfigError where the layers or shapes are others."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    weights = load_file(folder / WEIGHTS)
    own = get_peft_model_state_dict(tuned, save_embedding_layers=False)
    for name in sorted({*weights, *own}):
        if name not in weights or name not in own or weights[name].shape != own[name].shape:
            raise ConfigError(
                f"lora_modules must be the layers of the adapter to start from, {folder}, on the "
                f"base that it was made for, and differ at {name} (",
                *(Setting("lora_modules"), ")"),
            )
    fields = read_adapter_config(folder)
    ratios = {f"{PREFIX}{path}": read_scale(fields, path) / s for path, s in scales.items()}
    for name in (name for name in weights if LORA_B in name):
        weights[name] *= ratios[name.partition(LORA_B)[0]]
    load_weights(tuned, weights, "lora")


def load_weights(model: Any, weights: dict[str, Tensor], method: str) -> None:
    """Overwrites the trained weights by name, each of its parameter's shape [...]; a LoRA's in
    peft's names."""
    if method == "lora":
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(model, weights)
    else:
        model.load_state_dict(weights, strict=False)  # tied weights are stored once
        model.tie_weights()
