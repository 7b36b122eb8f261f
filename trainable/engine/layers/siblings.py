"""Layers that read the same input (queries, keys and values; gate and up): computed together when
the first of them is called, so that the input is read, and its gradient written, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from trainable.engine.layers.add_adapters import add_adapters
from trainable.model.fp8 import Fp8Linear, join, multiply_together

MOST = 3  # layers together: what a kernel looks up


class Siblings:
    """Packed layers with known bases of one kind; or one of any kind."""

    def __init__(self, layers: Sequence[Any]) -> None:
        self.layers = tuple(layers)
        self.bases = [layer.base for layer in self.layers]
        self.is_joined = len(self.bases) > 1 and isinstance(self.bases[0], Fp8Linear)
        if self.is_joined:
            join(self.bases)
        # made ahead: a tensor that is made while a pass is recorded is that recording's
        self.keys = {
            chosen: torch.stack([each.feature_keys for each in pick(self.layers, chosen)])
            for chosen in product((False, True), repeat=len(self.layers))
            if any(chosen)
        }
        self.forget()

    def forget(self) -> None:
        """What has been made for layers that were not called."""
        self.read: Tensor | None = None
        self.made: dict[Any, Tensor] = {}

    def are_plain(self) -> bool:
        """Whether none has DoRA, and none its adapter in its weight."""
        return all(
            each.magnitudes is None and each.factors is None and each.merged is None
            for each in self.layers
        )

    def compute_themselves(self) -> bool:
        """Whether any of them has adapters, or products are made together without them, too."""
        return self.is_joined or any(each.a is not None for each in self.layers)

    def compute(self, layer: Any, x: Tensor) -> Tensor:
        """That layer's result [..., out] for x [..., in], where they do."""
        if x is not self.read or layer not in self.made:
            chosen = tuple(each.a is not None for each in self.layers)
            if any(chosen):
                results = add_adapters(self.layers, self.keys[chosen], x)
            else:
                results = tuple(multiply_together(self.bases, x))
            self.read, self.made = x, dict(zip(self.layers, results, strict=True))
        result = self.made.pop(layer)
        if not self.made:
            self.read = None
        return result


def pick(layers: Sequence[Any], chosen: Sequence[bool]) -> list[Any]:
    return [layer for layer, is_chosen in zip(layers, chosen, strict=True) if is_chosen]


@torch.no_grad()
def find_siblings(layers: Sequence[Any], run: Callable[[], Any]) -> list[list[Any]]:
    """Those of the layers, with known bases, that one pass, `run`, calls one behind the other with
    the very same tensor, and once each; none where it fails (the engine's self-check says why)."""
    calls: list[tuple[Any, Tensor]] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...]) -> None:  # x [..., in]
        calls.append((layer, given[0]))

    with ExitStack() as hooks:
        for layer in layers:
            hooks.enter_context(layer.register_forward_pre_hook(note))
        try:
            run()
        except Exception:
            return []
    times = Counter(layer for layer, _ in calls)
    groups: list[list[Any]] = [[]]
    read: Tensor | None = None
    for layer, x in calls:
        if x is not read or len(groups[-1]) == MOST:
            groups.append([])
        groups[-1].append(layer)
        read = x
    return [
        group
        for group in groups
        if len(group) > 1 and all(each.is_known and times[each] == 1 for each in group)
        if len({type(each.base) for each in group}) == 1
    ]
