"""The data order of one trial: which dialogues make a step, and how a step is cut into passes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.corpus.encode import Window


@dataclass(frozen=True)
class Draw:
    """A window at a place in the data order; the place seeds its dropout."""

    window: Window
    place: int  # windows drawn before it since the trial's start


@dataclass(frozen=True)
class Piece:
    """What one slot brings to one pass."""

    draws: tuple[Draw, ...]
    batch_targets: int  # target tokens in the whole step, which the loss is divided by
    completes: bool  # the step's last piece: the optimizer steps after it

    @property
    def n_tokens(self) -> int:
        return sum(len(draw.window.ids) for draw in self.draws)


class DataOrder:
    """An endless shuffled walk over the training windows, a function of the seed alone.

    `position` counts windows drawn; setting it is all that a resume needs.
    """

    def __init__(self, windows: Sequence[Window], batch_turns: int, seed: int) -> None:
        self.windows = windows
        self.batch_turns = batch_turns
        self.seed = seed
        self.position = 0
        self._epoch = -1
        self._order: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def next_step(self) -> list[Draw]:
        """The next dialogues in order until they hold at least `batch_turns` system turns."""
        draws: list[Draw] = []
        turns = 0
        while turns < self.batch_turns:
            draws.append(Draw(self._window_at(self.position), self.position))
            turns += draws[-1].window.n_turns
            self.position += 1
        return draws

    def _window_at(self, position: int) -> Window:
        epoch, index = divmod(position, len(self.windows))
        if epoch != self._epoch:
            generator = np.random.default_rng([self.seed, epoch])
            self._order, self._epoch = generator.permutation(len(self.windows)), epoch
        return self.windows[self._order[index]]


def cut_step(
    draws: Sequence[Draw], pass_tokens: int, batch_targets: int | None = None
) -> list[Piece]:
    """A step, or what is left of one whose targets are `batch_targets`, in as few pieces of at most
    `pass_tokens` (or its longest window) as its windows need, evenly filled.

    Longest first, each to the emptiest piece: the passes of a pack then have equal loads.
    """
    targets = batch_targets or sum(int(draw.window.is_target.sum()) for draw in draws)
    total = sum(len(draw.window.ids) for draw in draws)
    longest_first = sorted(draws, key=lambda draw: (-len(draw.window.ids), draw.place))
    room = max(pass_tokens, len(longest_first[0].window.ids))
    n_pieces = max(1, -(-total // room))
    while True:
        groups: list[list[Draw]] = [[] for _ in range(n_pieces)]
        loads = [0] * n_pieces
        for draw in longest_first:
            emptiest = loads.index(min(loads))
            groups[emptiest].append(draw)
            loads[emptiest] += len(draw.window.ids)
        if max(loads) <= room or n_pieces >= len(draws):
            break
        n_pieces += 1
    kept = [group for group in groups if group]
    return [
        Piece(tuple(group), targets, completes=number == len(kept) - 1)
        for number, group in enumerate(kept)
    ]
