"""Beam search over a slot's rows, as transformers' `generate` does it (early_stopping=False)."""

import torch
from torch import Tensor

from trainable.engine.decode.branches import LOGIT_ROWS, PrefixCache, Shaper
from trainable.engine.layers.output import Output
from trainable.trial import TrialConfig

COMPACT_EVERY = 8  # tokens between looks at which rows have ended


class Beams:
    """`num_beams` running sequences of each row, and its best finished ones."""

    def __init__(
        self, prefix: PrefixCache, config: TrialConfig, shaper: Shaper, output: Output
    ) -> None:
        assert config.num_beams is not None
        self.prefix, self.shaper, self.output = prefix, shaper, output
        self.n_beams, self.max_new = config.num_beams, config.max_new_tokens
        self.length_penalty = 1.0 if config.length_penalty is None else config.length_penalty
        rows, device = len(prefix.origin), output.weight.device
        self.scores = torch.zeros(rows, 1, device=device)  # [rows, beams]: summed log probability
        self.made = torch.zeros(rows, 1, 0, dtype=torch.int64, device=device)  # their tokens
        self.ancestors = torch.zeros(rows, 1, 0, dtype=torch.bool, device=device)
        self.ended_scores = torch.full((rows, self.n_beams), float("-inf"), device=device)
        self.ended = torch.zeros(rows, self.n_beams, self.max_new, dtype=torch.int64, device=device)
        self.is_open = torch.ones(rows, dtype=torch.bool, device=device)

    def search(self, hidden: Tensor) -> list[list[int]]:
        """The best reply of every row, from the hidden states [rows, width] before it."""
        replies: list[list[int]] = [[] for _ in self.prefix.origin]
        hidden = hidden[:, None]
        for depth in range(self.max_new):
            self._extend(*self._list_best(hidden), depth)
            if depth + 1 == self.max_new:
                break
            if (depth + 1) % COMPACT_EVERY == 0 and self._drop_closed(replies):
                return replies
            hidden = self._grow(depth)
        self._collect(replies, torch.ones_like(self.is_open))
        return replies

    def _list_best(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each row, from hidden states [rows, beams, width], the best 2 * num_beams
        continuations: scores, the beams they extend, and their tokens, each [rows, 2 * beams]. As
        many may end, at least num_beams always go on."""
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        step = max(LOGIT_ROWS // hidden.shape[1], 1)
        for start in range(0, len(hidden), step):
            part = slice(start, start + step)
            logits = self.output.scores(hidden[part])
            steps = self.shaper.shape(
                logits.log_softmax(-1), self.prefix.origin[part], self.made[part]
            )
            totals = (steps + self.scores[part][:, :, None]).flatten(1)
            scores, places = totals.topk(2 * self.n_beams)
            found.append((scores, places // logits.shape[-1], places % logits.shape[-1]))
        scores, origins, tokens = (torch.cat(parts) for parts in zip(*found, strict=True))
        return scores, origins, tokens

    def _extend(self, scores: Tensor, origins: Tensor, tokens: Tensor, depth: int) -> None:
        """Ends the continuations (all [rows, 2 * beams]) that end, and goes on with the best of
        the others."""
        made = torch.cat([_gather(self.made, origins), tokens[:, :, None]], dim=-1)
        ends = tokens == self.shaper.eos_id
        if depth + 1 == self.max_new:
            ends = torch.ones_like(ends)
        self._end(scores, made, ends, depth)
        running, picks = scores.masked_fill(ends, float("-inf")).topk(self.n_beams)
        self.scores, self.made = running, _gather(made, picks)
        self.ancestors = _gather(self.ancestors, origins.gather(1, picks))
        best = running[:, 0] / (depth + 1) ** self.length_penalty
        self.is_open &= best > self.ended_scores.min(1).values

    def _end(self, scores: Tensor, made: Tensor, ends: Tensor, depth: int) -> None:
        """Keeps the best `num_beams` finished sequences; only the top half may finish. `scores`
        and `ends` [rows, 2 * beams], `made` [rows, 2 * beams, tokens]."""
        is_final = ends & self.is_open[:, None]
        is_final[:, self.n_beams :] = False
        lengths = (depth + 1) ** self.length_penalty
        normed = (scores / lengths).masked_fill(~is_final, float("-inf"))
        room = self.ended.shape[-1] - made.shape[-1]
        padded = torch.nn.functional.pad(made, (0, room), value=self.shaper.eos_id)
        self.ended_scores, best = torch.cat([self.ended_scores, normed], 1).topk(self.n_beams)
        self.ended = _gather(torch.cat([self.ended, padded], 1), best)

    def _grow(self, depth: int) -> Tensor:
        """The hidden states [rows, beams, width] of the newest tokens."""
        own = torch.eye(self.n_beams, dtype=torch.bool, device=self.output.weight.device)
        own = own.expand(len(self.scores), -1, -1)
        self.ancestors = torch.cat([self.ancestors, own], dim=-1)
        return self.prefix.forward(self.made[:, :, -1], depth, self.ancestors, depth * self.n_beams)

    def _drop_closed(self, replies: list[list[int]]) -> bool:
        """Keeps the open rows once they are fewer than half; True when none is left."""
        alive = self.is_open.nonzero()[:, 0]
        if 2 * len(alive) > len(self.is_open):
            return False
        self._collect(replies, ~self.is_open)
        self.prefix.keep(alive)
        for name in ("scores", "made", "ancestors", "ended_scores", "ended", "is_open"):
            setattr(self, name, getattr(self, name)[alive])
        return len(alive) == 0

    def _collect(self, replies: list[list[int]], chosen: Tensor) -> None:
        """Each chosen row's best sequence; `chosen` [rows], bool."""
        for origin, tokens in zip(
            self.prefix.origin[chosen].tolist(), self.ended[chosen, 0].tolist(), strict=True
        ):
            replies[origin] = tokens


def _gather(values: Tensor, index: Tensor) -> Tensor:
    """values [rows, from, ...] at index [rows, to] -> [rows, to, ...]"""
    return values[torch.arange(len(values), device=values.device)[:, None], index]
