"""Replies of all due slots, decoded together, in chunks that the memory holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from trainable.corpus.encode import Window
from trainable.engine.decode.belief_states import predict_states, to_greedy
from trainable.engine.decode.decode import Decoder, Share
from trainable.engine.decode.row_cache import lies_flat
from trainable.engine.decode.rows import count_window_columns
from trainable.engine.device.recording import can_record
from trainable.engine.layers.adapters import Adapters
from trainable.engine.layers.attention import Cached, Packing
from trainable.engine.layers.layout import Layout
from trainable.engine.slots.bank import SlotRange
from trainable.engine.slots.slot import Slot
from trainable.engine.slots.task import group_by_dialogue
from trainable.model.base import Base
from trainable.system.activity import tell
from trainable.trial import TrialConfig

Asked = tuple[Slot, str, int]  # slot, split, dialogues
Made = tuple[dict[str, list[dict[str, Any]]], float]  # responses, loss in nats a target token


class Decodable(Protocol):
    """What decoding needs of a pack."""

    base: Base
    device: torch.device
    adapters: Adapters
    has_generated: bool  # a token a row: what such passes compile is there

    def gather(self, slots: Sequence[Slot]) -> list[Slot]: ...

    def forward(self, ids: Tensor, positions: Tensor, packing: Packing | Cached) -> Tensor: ...

    def output(self) -> Tensor: ...

    def room_tokens(self) -> int: ...


@dataclass
class Reading:
    """What a slot reads to reply to."""

    windows: list[Window] = field(default_factory=list)  # empty: it reads its leader's
    gold: list[Window] = field(default_factory=list)  # with its own states found: for the loss
    states: dict[tuple[str, int], Any] = field(default_factory=dict)  # (dialogue, turn) -> found


class Counter:
    """Tells how many of the replies that some slots make together are there."""

    def __init__(self, keys: Sequence[str], total: int) -> None:
        self.keys, self.total, self.done = keys, total, 0
        self.add(0)

    def add(self, replies: int) -> None:
        self.done += replies
        for key in self.keys:
            tell("validating", self.done, self.total, key=key)


def generate(pack: Decodable, asked: Sequence[Asked]) -> dict[str, Made]:
    """Each trial's replies, in mwzeval's format, and its loss on the corpus's own targets."""
    wanted = {slot.key: (split, n) for slot, split, n in asked}
    slots = pack.gather([slot for slot, _, _ in asked])
    leaders = find_leaders(slots, wanted)
    readings = [Reading() for _ in slots]
    for place in set(leaders):
        readings[place].windows = slots[place].task.held_out(*wanted[slots[place].key])
    find_states(pack, slots, wanted, {place: readings[place] for place in set(leaders)})
    configs = [slot.config for slot in slots]
    windows = [reading.windows for reading in readings]
    total = sum(window.n_turns for leader in leaders for window in windows[leader])
    counter = Counter([slot.key for slot in slots], total)
    made = decode_chunks(pack, windows, configs, leaders, counter.add)
    scored = decode_chunks(pack, [reading.gold for reading in readings], configs, leaders)
    pack.adapters.invalidate()
    results = {}
    for place, slot in enumerate(slots):
        texts = {turn: slot.task.decode(ids) for turn, ids in made[place].replies.items()}
        nats = made[place].nats + scored[place].nats
        targets = made[place].targets + scored[place].targets
        grouped = group_by_dialogue(texts, readings[leaders[place]].states)
        results[slot.key] = (grouped, nats / max(targets, 1))
    return results


def find_states(
    pack: Decodable,
    slots: Sequence[Slot],
    wanted: Mapping[str, tuple[str, int]],
    readings: Mapping[int, Reading],
) -> None:
    """Where the model is to find the states itself: its prompts with those in them."""
    tasks = {
        place: (slots[place].task, slots[place].task.dialogues(*wanted[slots[place].key]))
        for place in readings
        if slots[place].config.target == "state+response"
    }
    if not tasks:
        return
    greedy = [to_greedy(slot.config) for slot in slots]
    alone = list(range(len(slots)))
    found = predict_states(
        tasks, len(slots), lambda prompts: decode_chunks(pack, prompts, greedy, alone)
    )
    for place, dialogues in found.items():
        reading = readings[place]
        reading.gold = [replace(w, turns=(), prompts=()) for w in reading.windows]
        encoded = slots[place].task.encode_whole(dialogues)
        reading.windows = [replace(w, is_target=np.zeros_like(w.is_target)) for w in encoded]
        reading.states = {
            (d.id, number): turn.state for d in dialogues for number, turn in enumerate(d.turns)
        }


def find_leaders(slots: Sequence[Slot], wanted: Mapping[str, tuple[str, int]]) -> list[int]:
    """For each slot the first one with its very model, prompts and dialogues: they differ in
    decoding alone, and share the prefill. Trained slots lead themselves."""
    first: dict[object, int] = {}
    leaders = []
    for place, slot in enumerate(slots):
        key = (slot.config.adapter, id(slot.task), wanted[slot.key])
        is_trained = slot.config.method != "none"
        leaders.append(place if is_trained else first.setdefault(key, place))
    return leaders


def decode_chunks(
    pack: Decodable,
    windows: Sequence[Sequence[Window]],
    configs: Sequence[TrialConfig],
    leaders: Sequence[int],
    advance: Callable[[int], object] = lambda replies: None,
) -> list[Share]:
    """What each slot makes of its windows, or of its leader's: see `Decoder.decode`."""
    readers = [
        [config for config, leader in zip(configs, leaders, strict=True) if leader == place]
        for place in range(len(windows))
    ]
    span = SlotRange(0, len(windows))
    decoder = Decoder(
        pack.forward,
        pack.output(),
        pack.base.special,
        pack.adapters.relayout,
        is_recorded=can_record(pack.base, training=False),
    )
    decoder.advance, decoder.is_ready = advance, pack.has_generated
    # Of like length together, so that the cache's columns are filled.
    queues = [sorted(group, key=lambda window: -len(window.ids)) for group in windows]
    made = [Share() for _ in windows]
    nothing = Layout.of([0] * len(windows), pack.device)
    pack.adapters.begin_inference(span, nothing, pack.base.compute_dtype)
    while any(queues):
        decoded = decoder.decode(take_chunk(pack, queues, readers), configs, leaders)
        for share, part in zip(made, decoded, strict=True):
            share.add(part)
    pack.has_generated = decoder.is_ready
    return made


def take_chunk(
    pack: Decodable, queues: list[list[Window]], readers: list[list[TrialConfig]]
) -> list[list[Window]]:
    """The next windows of every slot whose keys and values fit the memory set aside: as many of
    each slot, since products over unlike numbers are slower; the first ones of some in any case."""
    left_tokens = pack.room_tokens()
    longest = max(len(queue[0].ids) for queue in queues if queue)
    is_flat = lies_flat(pack.device, pack.base.compute_dtype)
    chunk: list[list[Window]] = [[] for _ in queues]
    while waiting := [place for place, queue in enumerate(queues) if queue]:
        needs = {
            place: len(queues[place][0].ids)
            + count_window_columns(queues[place][0], longest, readers[place], is_flat=is_flat)
            for place in waiting
        }
        if sum(needs.values()) > left_tokens and any(chunk):
            break
        for place, tokens in needs.items():
            left_tokens -= tokens
            if left_tokens < 0 and any(chunk):
                return chunk
            chunk[place].append(queues[place].pop(0))
    return chunk
