"""PiSSA with peft's own layers (arXiv 2404.02948): what the adapter begins as is subtracted from
the base layer's result, so that the base stays as it is, quantised or not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainable.model.principal import split_weight
from trainable.storage.adapter import WEIGHTS, read_adapter_config
from trainable.storage.adapter_ranks import as_plain, spell_ranks
from trainable.system.whole import write_json
from trainable.trial import TrialConfig

PREFIX = "base_model.model."


class Beginning:
    """The frozen part of a trial's adapter: A [rank, in] and B [out, rank] of each layer, under
    peft's names."""

    def __init__(
        self, tuned: Any, config: TrialConfig, ranks: Mapping[str, int], scales: Mapping[str, float]
    ) -> None:
        """Gives fresh adapters the base layers' principal components."""
        self.config, self.ranks, self.scales = config, ranks, scales
        self.frozen: dict[str, Tensor] = {}
        with torch.no_grad():
            for path, rank in ranks.items():
                layer = tuned.get_submodule(f"{PREFIX}{path}")
                a, b = split_weight(layer.base_layer, rank, scales[path])
                layer.lora_A["default"].weight.copy_(a.T)
                layer.lora_B["default"].weight.copy_(b.T)
                self.frozen |= {f"{path}.A": a.T.contiguous(), f"{path}.B": b.T.contiguous()}
                layer.base_layer.register_forward_hook(partial(self._subtract, path))

    def _subtract(self, path: str, _: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> Tensor:
        """A layer's y [..., out] without the frozen first adapter's part."""
        x = inputs[0]
        a, b = (self.frozen[f"{path}.{side}"].to(x.dtype) for side in "AB")
        return y - self.scales[path] * (x @ a.T @ b.T).to(y.dtype)

    def write(self, folder: Path) -> None:
        """Makes what peft saved there a plain adapter of twice the rank, fit for the base model."""
        weights = load_file(folder / WEIGHTS)
        for path in self.ranks:
            a, b = (f"{PREFIX}{path}.lora_{side}.weight" for side in "AB")
            own_a, own_b = (self.frozen[f"{path}.{side}"].to(weights[a]) for side in "AB")
            weights[a] = torch.cat([weights[a], own_a])
            weights[b] = torch.cat([weights[b], -own_b], dim=1).contiguous()
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
        ranks = {path: 2 * rank for path, rank in self.ranks.items()}
        fields = read_adapter_config(folder) | spell_ranks(
            ranks, self.scales, as_plain(self.config)
        )
        write_json(folder / "adapter_config.json", fields)

    def read(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of what `write` wrote the trained part, A [rank, in] and B [out, rank]; the frozen part
        is taken over."""
        trained = dict(weights)
        for path, rank in self.ranks.items():
            a, b = (f"{PREFIX}{path}.lora_{side}.weight" for side in "AB")
            own = self.frozen[f"{path}.A"]
            trained[a], trained[b] = weights[a][:rank], weights[b][:, :rank].contiguous()
            self.frozen[f"{path}.A"] = weights[a][rank:].to(own)
            self.frozen[f"{path}.B"] = -weights[b][:, rank:].to(own)
        return trained
