"""A training pass that is filled up to a size that comes again, and recorded for it.

What records is a GPU; here its place is taken by one that does the work again on the recorded
tensors, as a recording does."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_trials import make_config, make_spec
from torch import Tensor
from torch.nn import functional as F

from trainable.engine.kernels import BLOCK_TOKENS
from trainable.engine.layers.attention import Packing
from trainable.engine.layers.passes import make_dropout, pack_windows, round_up, target_weights
from trainable.engine.layers.scores import ScoreRules
from trainable.engine.pack import Pack
from trainable.engine.slots.data_order import cut_step
from trainable.engine.slots.rows import SlotRange
from trainable.engine.train import train_pass
from trainable.engine.train.train_pass import Load, TrainPass
from trainable.model.base import load_base


@pytest.fixture
def pack(bases: dict[str, Path]) -> Pack:
    return make_pack(bases)


def make_pack(bases: dict[str, Path]) -> Pack:
    pack = Pack(load_base(make_spec(bases["llama"])), slots=2, max_rank=8, pass_tokens=2048)
    for n, key in enumerate("ab"):
        changes: dict[str, Any] = {"seed": n, "lora_rank": 4 + 4 * n, "lora_dropout": 0.2 * n}
        pack.join(key, make_config(bases["llama"], batch_turns=6 + 4 * n, **changes), None)
    generator = torch.Generator().manual_seed(0)  # B away from zero, so that A has a gradient
    pack.bank.params += 0.01 * torch.randn(pack.bank.params.shape, generator=generator)
    return pack


def next_load(pack: Pack, *, pads_to_bucket: bool = True) -> Load:
    """What the slots bring next; taken off them."""
    slots = pack.gather(list(pack.slots.values()))
    pieces = [slot.next_piece(8192) for slot in slots]
    for slot in slots:
        slot.restart_step()
        slot.draws = []
    windows = [[draw.window for draw in piece.draws] for piece in pieces]
    tokens = pack_windows(windows, pack.device, pads_to_bucket=pads_to_bucket)
    configs = [slot.config for slot in slots]
    dropout = make_dropout(configs, pieces, tokens.layout.counts, pack.device)
    modules = tuple(pack.bank.used_modules(SlotRange(0, 2)))
    return Load(SlotRange(0, 2), tokens, target_weights(pieces, tokens), dropout, modules)


def next_sizes(pack: Pack, number: int) -> list[Load]:
    """Loads that grow."""
    loads = []
    for size in range(number):
        for slot in pack.slots.values():
            assert slot.order is not None
            slot.order.batch_turns = 8 * 3**size
        loads.append(next_load(pack))
    return loads


def gradient(pack: Pack, run: Callable[[Load], None], load: Load) -> Tensor:
    pack.bank.grads.zero_()
    run(load)
    return pack.bank.grads.clone()


def test_filling_changes_no_gradient(pack: Pack) -> None:
    orders = [(slot.order, slot.order.position) for slot in pack.slots.values() if slot.order]
    bare = next_load(pack, pads_to_bucket=False)
    for order, position in orders:
        order.position = position
    filled = next_load(pack)
    counts, few = filled.tokens.layout.counts, sum(bare.tokens.layout.counts)
    assert sum(counts) >= round_up(few) > few and not any(count % BLOCK_TOKENS for count in counts)
    assert len(filled.tokens.labels) > len(bare.tokens.labels)
    wanted = gradient(pack, pack.add_gradients, bare)
    found = gradient(pack, pack.add_gradients, filled)
    assert wanted.abs().max() > 1e-3
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_filled_passes_are_of_few_kinds(pack: Pack) -> None:
    """Each kind is recorded once, which takes as long as several passes."""
    for slot in pack.slots.values():
        assert slot.order is not None
        slot.order.batch_turns = 60
    loads = [next_load(pack) for _ in range(30)]
    assert len({load.tokens.target_slots.numel() for load in loads}) > 10  # all unlike
    assert {len(load.tokens.packing.sizes) for load in loads} == {32}
    assert len({load.kind() for load in loads}) < 10


def test_the_pieces_of_a_step_add_up_to_the_mean_over_its_targets(pack: Pack) -> None:
    slot, span = pack.slots["a"], SlotRange(0, 1)
    assert slot.order is not None and pack.rows[0] == "a"
    slot.order.batch_turns = 30
    draws = slot.order.next_step()
    longest = max(len(draw.window.ids) for draw in draws)
    totals, modules = [], tuple(pack.bank.used_modules(span))
    for pieces in (cut_step(draws, 100_000), cut_step(draws, longest)):
        pack.bank.grads.zero_()
        shares = 0.0
        for piece in pieces:
            tokens = pack_windows([[draw.window for draw in piece.draws]], pack.device)
            shares += float((weights := target_weights([piece], tokens)).sum())
            pack.add_gradients(Load(span, tokens, weights, None, modules))
        assert shares == pytest.approx(1)
        totals.append(pack.bank.grads.clone())
    assert len(pieces) > 2 and totals[0].abs().max() > 1e-3
    torch.testing.assert_close(*totals, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pass_tokens", [256, 4096], ids=["one-after-the-other", "together"])
@pytest.mark.slow
def test_filled_passes_train_as_others(bases: dict[str, Path], pass_tokens: int) -> None:
    """Of whole banks, whichever slots they are of."""
    trained = []
    for pads_to_bucket in (False, True):
        pack = make_pack(bases)
        pack.pads_to_bucket, pack.memory.pass_tokens = pads_to_bucket, pass_tokens
        for _ in range(6):
            pack.train_pass(list(pack.slots.values()))
        assert all(slot.steps > 0 for slot in pack.slots.values())
        trained.append(pack.bank.params)
    torch.testing.assert_close(*trained, rtol=1e-3, atol=1e-5)


def test_a_step_cut_for_few_slots_is_cut_anew_for_many(pack: Pack) -> None:
    slot = pack.slots["a"]
    assert slot.order is not None
    slot.order.batch_turns = 30
    whole = slot.next_piece(10_000)
    assert whole.completes and len(whole.draws) > 1
    first = slot.next_piece(max(len(draw.window.ids) for draw in whole.draws))
    parts = list(slot.pieces)
    assert first is parts[0] and len(parts) > 1
    assert [part.completes for part in parts] == [False] * (len(parts) - 1) + [True]
    assert {part.batch_targets for part in parts} == {whole.batch_targets}
    places = sorted(draw.place for part in parts for draw in part.draws)
    assert places == sorted(draw.place for draw in whole.draws)
    slot.advance(first)
    assert slot.next_piece(10_000) is parts[1]  # what is small enough stays


def test_a_window_too_long_for_a_pass_does_not_scatter_the_others(pack: Pack) -> None:
    slot = pack.slots["a"]
    assert slot.order is not None
    slot.order.batch_turns = 60
    draws = slot.order.next_step()
    longest = max(len(draw.window.ids) for draw in draws)
    parts = cut_step(draws, longest - 1)
    total = sum(len(draw.window.ids) for draw in draws)
    assert len(parts) <= total // longest + 2 < len(draws)
    assert max(part.n_tokens for part in parts) <= longest


def test_slots_that_do_not_fit_one_pass_keep_their_rows(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack.memory.pass_tokens = pack.longest()
    slots = list(pack.slots.values())
    pack.train_pass(slots)
    monkeypatch.setattr(pack, "_swap", lambda *_: pytest.fail("rows were moved"))
    steps = [slot.steps for slot in slots]
    for _ in range(20):
        pack.train_pass(slots)
    assert all(slot.steps > before for slot, before in zip(slots, steps, strict=True))


class Again:
    """In the place of a recording."""

    made = 0

    def __init__(self, work: Callable[[], Any], pool: Any) -> None:
        self.work = work
        Again.made += 1

    def replay(self) -> Any:
        return self.work()


def attend_by_borders(
    self: Packing, query: Tensor, key: Tensor, value: Tensor, rules: ScoreRules
) -> Tensor:
    """As the GPU's kernel: told by a tensor where sequences begin and end."""
    borders = self.borders.tolist()
    parts = [
        F.scaled_dot_product_attention(
            *(x[:, :, low:high] for x in (query, key, value)),
            is_causal=True,
            scale=rules.scale,
            enable_gqa=True,
        )
        for low, high in pairwise(borders)
        if high > low
    ]
    return torch.cat(parts, dim=2).transpose(1, 2)


@pytest.fixture
def recorded(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> TrainPass:
    monkeypatch.setattr(train_pass, "record", Again)
    monkeypatch.setattr(Packing, "attend", attend_by_borders)
    monkeypatch.setattr(train_pass.torch.cuda, "graph_pool_handle", lambda: None)
    Again.made = 0
    return TrainPass(pack.add_gradients, is_recorded=True, is_compiled=True)


def test_every_load_of_a_kind_has_its_own_gradient(pack: Pack, recorded: TrainPass) -> None:
    loads = [next_load(pack) for _ in range(9)]
    alike = [load for load in loads if load.kind() == loads[0].kind()]
    assert len(alike) > 2
    wanted = [gradient(pack, pack.add_gradients, load) for load in alike]
    found = [gradient(pack, recorded.run, load) for load in alike]
    assert Again.made == 1
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(wanted[0], wanted[-1])


def test_the_longest_unused_recording_goes_first(
    pack: Pack, recorded: TrainPass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_pass, "MOST_RECORDINGS", 2)
    recorded.is_compiled, recorded.ready = False, {True, False}
    small, middle, large = next_sizes(pack, 3)
    assert len({load.kind() for load in (small, middle, large)}) == 3
    for load in (small, middle, small, large):
        recorded.run(load)
    assert list(recorded.recordings) == [small.kind(), large.kind()]
    recorded.forget()
    assert not recorded.recordings


def test_where_no_recording_fits_the_memory_passes_go_on_without(
    pack: Pack, recorded: TrainPass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_pass, "record", lambda work, pool: None)
    load = next_load(pack)
    recorded.is_compiled, recorded.ready = False, {load.extras()}
    wanted = gradient(pack, pack.add_gradients, load)
    assert torch.equal(gradient(pack, recorded.run, load), wanted)
    assert not recorded.is_recorded and not recorded.recordings


def test_trials_share_what_their_passes_recordings_took(pack: Pack, recorded: TrainPass) -> None:
    pack.train_together, pack.pads_to_bucket = recorded, True
    slots = list(pack.slots.values())
    while not Again.made:
        pack.train_pass(slots)
    shares = [slot.recording_s for slot in slots]
    assert sum(shares) == pytest.approx(recorded.recording_s) and min(shares) > 0
    assert all(slot.recording_s < slot.train_s for slot in slots)


@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_first_pass_readies_what_a_recording_needs(
    pack: Pack, recorded: TrainPass, is_compiled: bool
) -> None:
    """Of every kind where torch compiles for shapes, else with and without dropout, noise, DoRA."""
    recorded.is_compiled = is_compiled
    small, large = next_sizes(pack, 2)
    assert small.kind() != large.kind()
    for load, made in ((small, 0), (large, 0 if is_compiled else 1), (large, 1)):
        recorded.run(load)
        assert Again.made == made
