"""The running average of a trial's weights, which is what is scored and saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainable.engine.slots.optimizer import average_weight


class WeightAverage:
    """Of the parameters in `trained`, over about the last share `averaging` of the steps. With 0
    nothing is kept: the average is the weights themselves."""

    def __init__(self, trained: Mapping[str, nn.Parameter], averaging: float) -> None:
        self.trained, self.averaging = dict(trained), averaging
        kept = self.trained if averaging else {}
        self.values = {name: weight.detach().clone() for name, weight in kept.items()}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """To be called after optimizer step `step` (1 is the first)."""
        weight = average_weight(self.averaging, step)
        for name, value in self.values.items():
            value.lerp_(self.trained[name], weight)

    @contextmanager
    def in_place(self) -> Iterator[dict[str, Tensor]]:
        """The model computes with the average meanwhile. Yields the last weights by name, each of
        its parameter's shape [...]: empty where nothing is averaged."""
        last = {name: self.trained[name].detach().clone() for name in self.values}
        self.put(self.values)
        try:
            yield last
        finally:
            self.put(last)

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Overwrites the parameters by that name, each of the same shape [...]."""
        for name, value in weights.items():
            self.trained[name].copy_(value)


def copy_to_host(value: Any) -> Any:
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value
