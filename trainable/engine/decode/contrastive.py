"""Contrastive search (Su et al. 2022, arXiv 2202.06417) over all rows of a slot.

Of the k likeliest tokens v takes the one that maximises
    (1 - alpha) * p(v | x) - alpha * max_j cos(h_v, h_j)
where h_v is the hidden state that v would have, and h_j those of the tokens before it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from trainable.engine.decode.branches import LOGIT_ROWS, PrefixCache, Shaper
from trainable.engine.layers.output import Output
from trainable.trial import TrialConfig

COMPACT_EVERY = 8  # tokens between looks at which rows have ended


class ContrastiveSearch:
    """`context` [rows, prompt columns, width]: the hidden states of every row's prompt."""

    def __init__(
        self,
        prefix: PrefixCache,
        config: TrialConfig,
        shaper: Shaper,
        output: Output,
        context: Tensor,
    ) -> None:
        assert config.top_k is not None and config.penalty_alpha is not None
        self.prefix, self.shaper, self.output = prefix, shaper, output
        self.top_k, self.alpha = config.top_k, config.penalty_alpha
        self.max_new = config.max_new_tokens
        rows, n_prompt, width = context.shape
        # what candidates are compared with: normed, and zero where there is no token
        self.context = context.new_zeros(rows, n_prompt + self.max_new, width)
        self.context[:, :n_prompt] = F.normalize(context, dim=-1)
        self.is_token = F.pad(prefix.is_prompt, (0, self.max_new))
        self.made = torch.zeros(rows, 0, dtype=torch.int64, device=output.weight.device)
        self.has_ended = torch.zeros(rows, dtype=torch.bool, device=output.weight.device)

    def search(self, hidden: Tensor) -> list[list[int]]:
        """The reply of every row, from the hidden states [rows, width] before it."""
        replies: list[list[int]] = [[] for _ in self.prefix.origin]
        for depth in range(self.max_new):
            probabilities, tokens = self._list_candidates(hidden)
            hidden = self._choose(probabilities, tokens, depth)
            self.has_ended |= self.made[:, -1] == self.shaper.eos_id
            if (depth + 1) % COMPACT_EVERY == 0:
                hidden = self._drop_ended(replies, hidden)
                if len(hidden) == 0:
                    return replies
        self._collect(replies, torch.ones_like(self.has_ended))
        return replies

    def _list_candidates(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities and tokens [rows, top_k], the likeliest first."""
        parts = []
        for start in range(0, len(hidden), LOGIT_ROWS):
            part = slice(start, start + LOGIT_ROWS)
            logits = self.output.scores(hidden[part])[:, None]
            shaped = self.shaper.shape(logits, self.prefix.origin[part], self.made[part, None])
            parts.append(shaped[:, 0].softmax(-1).topk(self.top_k))
        values, tokens = (torch.cat(side) for side in zip(*parts, strict=True))
        return values, tokens

    def _choose(self, probabilities: Tensor, tokens: Tensor, depth: int) -> Tensor:
        """Appends every row's best candidate; the hidden states [rows, width] of those."""
        rows = torch.arange(len(tokens), device=tokens.device)
        before = torch.ones(len(rows), self.top_k, depth, dtype=torch.bool, device=tokens.device)
        own = torch.eye(self.top_k, dtype=torch.bool, device=tokens.device)
        visible = torch.cat([before, own.expand(len(rows), -1, -1)], dim=-1)
        hidden = self.prefix.forward(tokens, depth, visible, depth)  # [rows, top_k, width]
        normed = F.normalize(hidden, dim=-1)
        likeness = (normed @ self.context.transpose(1, 2)).float()
        likeness = likeness.masked_fill(~self.is_token[:, None], -1.0).amax(-1)
        best = ((1 - self.alpha) * probabilities - self.alpha * likeness).argmax(-1)  # [rows]
        self._settle(best, depth)
        self.context[:, self.prefix.n_prompt + depth] = normed[rows, best]
        self.is_token[:, self.prefix.n_prompt + depth] = True
        self.made = torch.cat([self.made, tokens[rows, best][:, None]], dim=1)
        return hidden[rows, best]

    def _settle(self, best: Tensor, depth: int) -> None:
        """Moves the keys and values of the chosen candidates (`best` [rows], each one's number)
        into the first one's column."""
        rows = torch.arange(len(best), device=best.device)
        column = self.prefix.n_prompt + depth
        for side in (self.prefix.keys, self.prefix.values):
            for layer in side:
                layer[:, :, column] = layer[rows, :, column + best]

    def _drop_ended(self, replies: list[list[int]], hidden: Tensor) -> Tensor:
        """Keeps the rows that go on once they are fewer than half; their hidden states [rows left,
        width]."""
        alive = (~self.has_ended).nonzero()[:, 0]
        if 2 * len(alive) > len(self.has_ended):
            return hidden
        self._collect(replies, self.has_ended)
        self.prefix.keep(alive)
        for name in ("context", "is_token", "made", "has_ended"):
            setattr(self, name, getattr(self, name)[alive])
        return hidden[alive]

    def _collect(self, replies: list[list[int]], chosen: Tensor) -> None:
        """Each chosen row's reply; `chosen` [rows], bool."""
        for origin, tokens in zip(
            self.prefix.origin[chosen].tolist(), self.made[chosen].tolist(), strict=True
        ):
            replies[origin] = tokens
