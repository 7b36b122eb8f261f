"""What we need of bitsandbytes, imported without torch's compiler.

It prepares compiled forms of what it computes on other devices than a CPU or an NVIDIA GPU, and
for them loads the whole compiler: half of its import's three seconds, in every process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from trainable.system.replaced import replaced

T = TypeVar("T", bound=Callable[..., Any])


def leave(function: T, **_: Any) -> T:
    return function


with replaced(torch, compile=leave):  # what is decorated to be compiled stays as it is
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Int8Params, Linear4bit, Linear8bitLt, Params4bit

__all__ = ["Int8Params", "Linear4bit", "Linear8bitLt", "Params4bit", "dequantize_4bit"]
