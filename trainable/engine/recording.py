"""Work on a GPU that is recorded once and then launched as one: thousands of small kernels, one by
one, take the host several times as long as the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Recording:
    """The kernels that `work` launches, which read and write the very tensors they were recorded
    with. It must have run once with tensors of those shapes: what is compiled or set up by a first
    run cannot be recorded. `pool`: the memory of recordings of which one is replayed at a time."""

    def __init__(self, work: Callable[[], Any], pool: Any = None) -> None:
        self.graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # other threads copy checkpoints meanwhile
            self.graph.capture_begin(pool, capture_error_mode="thread_local")
            try:
                self.result = work()  # overwritten by every replay
            finally:
                self.graph.capture_end()
        torch.cuda.current_stream().wait_stream(stream)

    def replay(self) -> Any:
        self.graph.replay()
        return self.result
