"""Packing for models that call torch's `scaled_dot_product_attention` themselves (falcon).

While one of their passes runs, those calls are ours: the n-th is the n-th layer's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from trainable.engine.layers.attention import Cached, Packing
from trainable.engine.layers.scores import ScoreRules
from trainable.trial import TrialFailed


def make_placeholder(device: torch.device) -> Tensor:
    """A mask [1, 1, 1, 1] that transformers hands on as it is, and that attention never reads."""
    return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)


def slice_lists(index: Any) -> Any:
    """The same places without lists of one: torch makes a tensor of a list, and a copy of that from
    the host to a GPU cannot be recorded.

    >>> slice_lists((..., [-2], [0, 3]))
    (Ellipsis, slice(-2, -1, None), [0, 3])
    """
    if not isinstance(index, tuple):
        return index
    return tuple(
        slice(part[0], part[0] + 1 or None) if is_list_of_one(part) else part for part in index
    )


def is_list_of_one(part: object) -> bool:
    return isinstance(part, list) and len(part) == 1 and type(part[0]) is int


class OwnAttention(TorchFunctionMode):
    def __init__(self, packing: Packing | Cached, placeholder: Tensor) -> None:  # [1, 1, 1, 1]
        super().__init__()
        self.packing, self.placeholder = packing, placeholder
        self.layer = -1

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.__getitem__:
            return args[0][slice_lists(args[1])]
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        self.layer += 1
        return self._attend(*args, **(kwargs or {}))

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        scale: float | None = None,
        **_: Any,  # causal or not, grouped or not: known
    ) -> Tensor:
        """[rows, heads, tokens, width]. Raises TrialFailed where the layer adds a mask that is its
        own, as ALiBi's slopes are."""
        if attn_mask is not None and attn_mask is not self.placeholder:
            raise TrialFailed("its attention adds a mask of its own")
        rules = ScoreRules(scale=query.shape[-1] ** -0.5 if scale is None else scale)
        if isinstance(self.packing, Cached):
            out = self.packing.attend(self.layer, query, key, value, rules)
        else:
            out = self.packing.attend(query, key, value, rules)
        return out.transpose(1, 2).contiguous()
