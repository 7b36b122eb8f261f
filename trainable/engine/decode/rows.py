"""The replies under way in a decoding: whose they are, and their keys and values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainable.corpus.encode import Window
from trainable.engine.decode.row_cache import FlatCache, PaddedCache, RowCache, lies_flat
from trainable.engine.decode.sampling import Chooser
from trainable.engine.decode.shared_cache import SharedCache
from trainable.engine.layers.attention import Cached
from trainable.engine.layers.layout import Layout
from trainable.engine.layers.passes import PackedTokens
from trainable.trial import TrialConfig

BRANCHING = ("beam", "contrastive")
MOST_PADDING = 2.0  # rows kept at the most, over the unfinished ones
# A smaller share of the rows goes on alone: on a GPU new shapes cost time of their own
WORTH_KEEPING = {"cpu": 0.9, "cuda": 0.5}
FEW_ROWS = 512  # on a GPU a pass of fewer takes hardly less time, and recording it anew does


@dataclass(frozen=True)
class Row:
    """One response to generate: a slot's prompt, as a prefix of one of its windows."""

    slot: int  # whose adapter reads it
    reader: int  # whose config decodes it: the slot itself, or one with the same adapter and text
    window: int  # among the windows of the chunk, slot after slot
    prefix: int  # tokens in front of the response
    dialogue_id: str
    turn: int


class Batch:
    """The rows still being generated, with their keys and values."""

    def __init__(
        self, rows: Sequence[Row], n_slots: int, max_new: int, device: torch.device
    ) -> None:
        self.rows = rows
        self.n_slots = n_slots
        self.max_new = max_new
        self.step = 0
        self.slots = np.array([row.slot for row in rows])
        self.origin = torch.arange(len(rows), device=device)
        self.finished = torch.zeros(len(rows), dtype=torch.bool, device=device)
        self.lengths = torch.tensor([row.prefix for row in rows], device=device)
        self.hidden = torch.empty(0)
        self.cache: RowCache

    @classmethod
    def start(
        cls,
        rows: Sequence[Row],
        tokens: PackedTokens,
        hidden: Tensor,
        kept: list[tuple[Tensor, Tensor]],
        max_new: int,
        *,
        is_branching: bool,
    ) -> Batch:
        """Copies each row's prefix out of the prefill `kept` (of each layer its keys and values,
        [tokens, kv_heads, width]), emptying it layer by layer."""
        batch = cls(rows, len(tokens.layout.counts), max_new, hidden.device)
        begins = batch.find_prompts(tokens)
        batch.hidden = hidden[begins + batch.lengths - 1]
        kind = PaddedCache if is_branching else choose_cache(hidden.device, hidden.dtype)
        batch.cache = kind(begins, batch.lengths, max_new)
        while kept:
            batch.cache.add_layer(*kept.pop(0))
        return batch

    def find_prompts(self, tokens: PackedTokens) -> Tensor:
        """[rows]: where each row's prefix begins in the prefill."""
        starts = tokens.packing.borders[:-1].long()
        return starts[torch.tensor([row.window for row in self.rows], device=starts.device)]

    def positions(self) -> Tensor:
        """[rows, 1]: of the tokens that come next."""
        return self.lengths[:, None]

    def cached(self) -> Cached:
        return self.cache.view(self.lengths)

    def layout(self) -> Layout:
        counts = np.bincount(self.slots, minlength=self.n_slots)
        return Layout.of(counts.tolist(), self.origin.device)

    def drop_finished(self, chooser: Chooser) -> bool:
        """Keeps what `choose_kept` does once that is less than half; True when nothing is left."""
        finished = self.finished.cpu().numpy()
        kept = choose_kept(finished, self.slots)
        if len(kept) == 0:
            return True
        is_small = self.finished.is_cuda and len(finished) <= FEW_ROWS
        if len(kept) > WORTH_KEEPING[self.finished.device.type] * len(finished) or is_small:
            return False
        self.slots, rows = self.slots[kept], torch.from_numpy(kept).to(self.origin.device)
        self.origin, self.lengths = self.origin[rows], self.lengths[rows]
        self.finished = self.finished[rows]
        self.cache.keep(rows)
        chooser.keep(rows)
        return False


def choose_cache(
    device: torch.device, dtype: torch.dtype
) -> Callable[[Tensor, Tensor, int], RowCache]:
    """The kind of cache of rows that take one token a pass, made of begins [rows], lengths [rows]
    and room."""
    if device.type == "cpu":
        return SharedCache
    return FlatCache if lies_flat(device, dtype) else PaddedCache


def choose_kept(finished: NDArray[np.bool_], slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """The unfinished rows, and beside them enough of the finished to make the slots that have any
    even: products over unlike numbers of rows take longer than over these, unless they are many.

    >>> choose_kept(np.array([False, False, True, False, True, True]), np.array([0, 0, 0, 1, 1, 2]))
    array([0, 1, 3, 4])
    """
    alive = np.bincount(slots[~finished], minlength=int(slots.max()) + 1)
    groups = (np.flatnonzero(slots == slot) for slot in np.flatnonzero(alive))
    unfinished_first = (group[np.argsort(finished[group], kind="stable")] for group in groups)
    even = [group[: alive.max()] for group in unfinished_first]
    if sum(map(len, even)) > MOST_PADDING * alive.sum():
        return np.flatnonzero(~finished)
    return np.sort(np.concatenate(even)) if even else np.empty(0, dtype=np.int64)


def list_rows(windows: Sequence[Sequence[Window]], leaders: Sequence[int]) -> list[Row]:
    """Every turn of every window, slot after slot, and under it reader after reader."""

    def walk() -> Iterator[Row]:
        first = 0
        for slot, group in enumerate(windows):
            for reader in (reader for reader, leader in enumerate(leaders) if leader == slot):
                for number, window in enumerate(group, start=first):
                    for turn, prefix in zip(window.turns, window.prompts, strict=True):
                        yield Row(slot, reader, number, prefix, window.dialogue_id, turn)
            first += len(group)

    return list(walk())


def group_rows(rows: Sequence[Row], configs: Sequence[TrialConfig]) -> list[list[Row]]:
    """All rows that take one token a pass together; those of each search by themselves."""
    groups: dict[int, list[Row]] = {}
    for row in rows:
        is_branching = configs[row.reader].decoding in BRANCHING
        groups.setdefault(row.reader if is_branching else -1, []).append(row)
    return list(groups.values())


def count_columns(config: TrialConfig) -> int:
    """Columns of keys and values that a row may need beyond its prompt's."""
    if config.decoding == "beam":
        return config.max_new_tokens * (config.num_beams or 1)
    if config.decoding == "contrastive":
        return config.max_new_tokens + (config.top_k or 1)
    return config.max_new_tokens


def count_window_columns(
    window: Window, longest: int, configs: Sequence[TrialConfig], *, is_flat: bool
) -> int:
    """Columns that the turns of a window take at a time, decoded under all of these: the plain ones
    stand side by side, a search by itself. Padded ones are as long as the longest prompt."""
    padded = window.n_turns * longest
    plain, searches = 0, [0]
    for config in configs:
        new = window.n_turns * count_columns(config)
        if config.decoding in BRANCHING:
            searches.append(padded + new)
        else:
            plain += new + (sum(window.prompts) if is_flat else padded)
    return max(plain, *searches)
