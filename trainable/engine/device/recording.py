"""Work on a GPU that is recorded once and then launched as one: thousands of small kernels, one by
one, take the host several times as long as the device."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import torch

from trainable.model.base import Base
from trainable.model.gpu_memory import read_free

SCARCE = 0.2  # of a GPU's memory: to give back what is kept for reuse takes the host long


def can_record(base: Base, *, training: bool) -> bool:
    """Whether a GPU can record the base model's passes: not in 8 bits, where bitsandbytes looks at
    numbers on the way, nor training in 32, where attention lays out every pass by its lengths (as
    it does in 16 where its kernel does not know a layer's rules: the first pass shows that)."""
    is_told_by_tensors = base.compute_dtype != torch.float32 or not training
    return base.device.type == "cuda" and base.residency != "int8" and is_told_by_tensors


def record(work: Callable[[], Any], pool: Any = None) -> Recording | None:
    """None where the memory is too short for what the recording would hold, or where the work waits
    for the host on its way, as copies from there and looks at numbers do: nothing is done then.
    `pool`: the memory of recordings of which one is replayed at a time."""
    free, total = read_free(torch.device("cuda", torch.cuda.current_device()))
    if free < SCARCE * total:
        torch.cuda.empty_cache()  # while it records, torch gives nothing back
    try:
        return Recording(work, pool)
    except RuntimeError as error:  # torch's own kind, or that of CUDA's graphs
        if "out of memory" not in str(error):
            reason = str(error).splitlines()[0]
            warnings.warn(f"passes run unrecorded, more slowly: {reason}", stacklevel=2)
        return None


class Recording:
    """The kernels that `work` launches, which read and write the very tensors they were recorded
    with. What a first run compiles or sets up cannot be recorded: such work must have run before,
    and with tensors of those shapes where torch compiles for shapes."""

    def __init__(self, work: Callable[[], Any], pool: Any) -> None:
        self.graph, stream = torch.cuda.CUDAGraph(), open_stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # other threads copy checkpoints meanwhile
            self.graph.capture_begin(pool, capture_error_mode="thread_local")
            try:
                self.result = work()  # overwritten by every replay
            except BaseException:
                with suppress(RuntimeError):  # of a recording that has failed already
                    self.graph.capture_end()
                raise
            self.graph.capture_end()
        torch.cuda.current_stream().wait_stream(stream)

    def replay(self) -> Any:
        self.graph.replay()
        return self.result


@cache
def open_stream() -> torch.cuda.Stream:
    """The one on which everything is recorded. What cuBLAS holds for a stream, for good, it takes
    at the first products there and back: outside of any recording's memory."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream), torch.enable_grad():
        one = torch.ones(64, 64, device="cuda", dtype=torch.float16, requires_grad=True)
        (one @ one).sum().backward()
    torch.cuda.current_stream().wait_stream(stream)
    return stream
