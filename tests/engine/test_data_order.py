"""Which dialogues make a step: all of them once an epoch, each epoch in an order of its own."""

from __future__ import annotations

import numpy as np
import pytest

from trainable.corpus.encode import Window
from trainable.engine.slots.data_order import DataOrder, Draw, cut_step

TURNS = [1, 4, 2, 3, 5, 2, 1, 6, 3, 2]


def make_window(number: int, turns: int) -> Window:
    """Six tokens a turn, half of them targets."""
    is_target = np.arange(6 * turns) % 2 == 1
    ids, prompts = np.arange(6 * turns, dtype=np.int32), tuple(6 * t + 1 for t in range(turns))
    return Window(str(number), ids, is_target, tuple(range(turns)), prompts)


WINDOWS = [make_window(number, turns) for number, turns in enumerate(TURNS)]


def walk(seed: int, epochs: int) -> list[list[str]]:
    """The dialogues of each epoch in their order, a window a step."""
    order = DataOrder(WINDOWS, 1, seed)
    drawn = [order.next_step()[0].window.dialogue_id for _ in range(epochs * len(WINDOWS))]
    return [drawn[start : start + len(WINDOWS)] for start in range(0, len(drawn), len(WINDOWS))]


def test_every_epoch_has_every_dialogue_once_in_an_order_of_its_own() -> None:
    epochs = walk(seed=0, epochs=4)
    assert all(sorted(epoch) == sorted(map(str, range(10))) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert epochs == walk(seed=0, epochs=4)
    assert not any(epoch in epochs for epoch in walk(seed=1, epochs=4))


@pytest.mark.parametrize("batch_turns", [1, 5, 6, 40])
def test_a_step_ends_with_the_dialogue_that_fills_it(batch_turns: int) -> None:
    order, place = DataOrder(WINDOWS, batch_turns, seed=3), 0
    for _ in range(30):
        draws = order.next_step()
        turns = [draw.window.n_turns for draw in draws]
        assert sum(turns[:-1]) < batch_turns <= sum(turns)
        assert [draw.place for draw in draws] == list(range(place, place + len(draws)))
        place += len(draws)
        assert order.position == place


@pytest.mark.parametrize("position", [4, 10, 27])
def test_its_position_is_all_that_a_resume_needs(position: int) -> None:
    whole, resumed = DataOrder(WINDOWS, 1, seed=5), DataOrder(WINDOWS, 1, seed=5)
    for _ in range(position):
        whole.next_step()
    resumed.position = position
    for _ in range(12):
        assert [d.window for d in whole.next_step()] == [d.window for d in resumed.next_step()]


@pytest.mark.parametrize("pass_tokens", [1, 36, 60, 10_000])
def test_the_pieces_of_a_step_share_its_targets_and_the_last_completes_it(pass_tokens: int) -> None:
    draws = [Draw(window, place) for place, window in enumerate(WINDOWS)]
    pieces = cut_step(draws, pass_tokens)
    assert {piece.batch_targets for piece in pieces} == {3 * sum(TURNS)}
    assert [piece.completes for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert sorted(draw.place for piece in pieces for draw in piece.draws) == list(range(10))
    assert max(piece.n_tokens for piece in pieces) <= max(pass_tokens, 6 * max(TURNS))
    assert len(pieces) == {1: 5, 36: 5, 60: 3, 10_000: 1}[pass_tokens]
