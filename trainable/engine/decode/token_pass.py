"""One token a row through the model, again and again, while replies grow."""

from collections.abc import Callable

from torch import Tensor

from trainable.engine.decode.rows import Batch
from trainable.engine.device.recording import record
from trainable.engine.layers.attention import Cached, Packing
from trainable.engine.layers.layout import Layout

Forward = Callable[[Tensor, Tensor, Packing | Cached], Tensor]  # ids, positions -> hidden states


class TokenPass:
    """The pass of a batch's rows; where it can be, it is recorded for as long as the rows stay the
    same."""

    def __init__(
        self,
        forward: Forward,
        batch: Batch,
        relayout: Callable[[Layout], None],
        *,
        is_recorded: bool,
        is_ready: bool,
    ) -> None:
        """`is_ready`: such passes have run in this engine, so that nothing is compiled any more."""
        self.forward, self.batch, self.relayout = forward, batch, relayout
        self.is_recorded, self.is_ready = is_recorded, is_ready
        self.n_rows = 0  # of the last pass
        self.replay: Callable[[Tensor], Tensor] | None = None

    def run(self, tokens: Tensor) -> Tensor:
        """The hidden states [rows, width] after the rows' next tokens [rows], which every row then
        holds. They are overwritten by the next pass."""
        if len(tokens) != self.n_rows:
            self.n_rows, self.replay = len(tokens), None
            self.relayout(self.batch.layout())
        if not self.is_recorded or not self.is_ready:
            self.is_ready = True
            return self._pass(tokens)
        self.replay = self.replay or self._record(tokens)
        return self.replay(tokens)

    def _pass(self, tokens: Tensor) -> Tensor:
        """Each row's latest token [rows] -> hidden states [rows, width]."""
        batch = self.batch
        hidden = self.forward(tokens[:, None], batch.positions(), batch.cached())[:, 0]
        batch.lengths += 1
        return hidden

    def _record(self, tokens: Tensor) -> Callable[[Tensor], Tensor]:
        """`_pass` as a CUDA graph; as it is where none can be recorded. Tokens [rows] -> hidden
        states [rows, width]."""
        own = tokens.clone()
        recording = record(lambda: self._pass(own))
        if recording is None:
            self.is_recorded = False
            return self._pass

        def replay(tokens: Tensor) -> Tensor:  # [rows] -> [rows, width]
            own.copy_(tokens)
            hidden: Tensor = recording.replay()
            return hidden

        return replay
