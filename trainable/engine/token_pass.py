"""One token a row through the model, again and again, while replies grow."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trainable.engine.attention import Cached, Packing
from trainable.engine.lora import Layout
from trainable.engine.rows import Batch

Forward = Callable[[Tensor, Tensor, Packing | Cached], Tensor]  # ids, positions -> hidden states


class TokenPass:
    """The pass of a batch's rows. On a GPU it is recorded once for as long as the rows stay the
    same, and replayed: launched one by one, its thousands of small kernels take the host several
    times as long as the device."""

    def __init__(self, forward: Forward, batch: Batch, relayout: Callable[[Layout], None]) -> None:
        self.forward, self.batch, self.relayout = forward, batch, relayout
        self.n_rows = 0  # of the last pass
        self.replay: Callable[[Tensor], Tensor] | None = None

    def run(self, tokens: Tensor) -> Tensor:
        """The hidden states [rows, width] after the rows' next tokens [rows], which every row then
        holds. They are overwritten by the next pass."""
        if len(tokens) != self.n_rows:
            self.n_rows, self.replay = len(tokens), None
            self.relayout(self.batch.layout())
            return self._pass(tokens)  # in earnest, and it readies what a recording needs
        if not tokens.is_cuda:
            return self._pass(tokens)
        self.replay = self.replay or self._record(tokens)
        return self.replay(tokens)

    def _pass(self, tokens: Tensor) -> Tensor:
        batch = self.batch
        hidden = self.forward(tokens[:, None], batch.positions(), batch.cached())[:, 0]
        batch.lengths += 1
        return hidden

    def _record(self, tokens: Tensor) -> Callable[[Tensor], Tensor]:
        """A recording reads and writes the very tensors that it was made with."""
        own, graph, stream = tokens.clone(), torch.cuda.CUDAGraph(), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # other threads copy checkpoints meanwhile
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                hidden = self._pass(own)
            finally:
                graph.capture_end()
        torch.cuda.current_stream().wait_stream(stream)

        def replay(tokens: Tensor) -> Tensor:
            own.copy_(tokens)
            graph.replay()
            return hidden

        return replay
