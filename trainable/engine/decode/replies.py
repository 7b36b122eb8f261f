"""Replies of all due slots, decoded together, in chunks that the memory holds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from trainable.corpus.encode import Window
from trainable.corpus.losses import Losses
from trainable.corpus.prompt import finds_state
from trainable.engine.decode.belief_states import predict_states, to_greedy
from trainable.engine.decode.decode import Decoder, SlotOutput
from trainable.engine.decode.row_cache import lies_flat
from trainable.engine.decode.rows import count_window_columns
from trainable.engine.device.memory import MemoryBudget
from trainable.engine.device.recording import can_record
from trainable.engine.layers.adapters import Adapters
from trainable.engine.layers.attention import Cached, Packing
from trainable.engine.layers.layout import Layout
from trainable.engine.layers.output import Output
from trainable.engine.slots.rows import SlotRange
from trainable.engine.slots.slot import Slot
from trainable.engine.slots.task import group_by_dialogue
from trainable.model.base import Base
from trainable.result import ValidationRequest
from trainable.system.activity import tell
from trainable.trial import TrialConfig

Responses = dict[str, list[dict[str, Any]]]  # mwzeval's format
# of a pass that measures the loss alone; on a CPU twice as fast where its caches hold a pass
SCORED_TOKENS = {"cpu": 2**12, "cuda": 2**16}


class Decodable(Protocol):
    """What decoding needs of a pack."""

    base: Base
    device: torch.device
    adapters: Adapters
    memory: MemoryBudget
    has_generated: bool  # a token a row: what such passes compile is there

    def gather(self, slots: Sequence[Slot]) -> list[Slot]: ...

    def forward(self, ids: Tensor, positions: Tensor, packing: Packing | Cached) -> Tensor:
        """ids, positions [rows, tokens] -> hidden states [rows, tokens, width]."""

    def output(self) -> Output: ...


class GenerationRequest(NamedTuple):
    """What a slot is validated on, and how."""

    slot: Slot
    asked: ValidationRequest

    @property
    def config(self) -> TrialConfig:
        """How its replies are decoded."""
        own, bias = self.slot.config, self.asked.bias
        return own if bias is None else replace(own, placeholder_bias=bias)


class Generation(NamedTuple):
    responses: Responses
    losses: Losses


@dataclass
class Reading:
    """What a slot reads to reply to."""

    windows: list[Window] = field(default_factory=list)  # empty: it reads its leader's
    gold: list[Window] = field(default_factory=list)  # with its own states found: for the loss
    states: dict[tuple[str, int], Any] = field(default_factory=dict)  # (dialogue, turn) -> found


class Counter:
    """Tells how many of the replies that some slots make together are there."""

    def __init__(self, keys: Sequence[str], total: int) -> None:
        self.keys, self.done = keys, 0
        self.total = total or None  # a loss alone has no replies to count
        self.add(0)

    def add(self, replies: int) -> None:
        self.done += replies
        for key in self.keys:
            tell("validating", self.done, self.total, key=key)


def generate(pack: Decodable, asked: Sequence[GenerationRequest]) -> dict[str, Generation]:
    """Each trial's replies, where they are asked for, and its loss on the corpus's own."""
    by_key = {a.slot.key: a for a in asked}
    slots = pack.gather([a.slot for a in asked])
    asked = [by_key[slot.key] for slot in slots]
    leaders = find_leaders(asked)
    readings = [Reading() for _ in slots]
    for place in set(leaders):
        request = asked[place].asked
        windows = slots[place].task.held_out(request.split, request.n_dialogues)
        readings[place].windows = windows
        if not request.replies:
            readings[place] = Reading(gold=without_prompts(windows))
    replying = {place for place in set(leaders) if asked[place].asked.replies}
    find_states(pack, asked, {place: readings[place] for place in replying})
    configs = [a.config for a in asked]
    ends = [a.slot.task.special.eos for a in asked]
    read = [reading.windows for reading in readings]
    total = sum(window.n_turns for leader in leaders for window in read[leader])
    counter = Counter([slot.key for slot in slots], total)
    made = decode_chunks(pack, read, configs, leaders, ends, counter.add)
    scored = decode_chunks(pack, [reading.gold for reading in readings], configs, leaders, ends)
    pack.adapters.invalidate()
    results = {}
    for place, slot in enumerate(slots):
        texts = {turn: slot.task.read_reply(ids) for turn, ids in made[place].replies.items()}
        losses = slot.task.measure_losses([*made[place].scored, *scored[place].scored])
        grouped = group_by_dialogue(texts, readings[leaders[place]].states)
        results[slot.key] = Generation(grouped, losses)
    return results


def without_prompts(windows: Sequence[Window]) -> list[Window]:
    """The same to be scored alone: nothing is to be replied to."""
    return [replace(window, turns=(), prompts=()) for window in windows]


def find_states(
    pack: Decodable, asked: Sequence[GenerationRequest], readings: Mapping[int, Reading]
) -> None:
    """Where the model is to find the states itself: its prompts with those in them."""
    tasks = {}
    for place in readings:
        slot, request = asked[place]
        if finds_state(slot.config):
            tasks[place] = slot.task, slot.task.dialogues(request.split, request.n_dialogues)
    if not tasks:
        return
    greedy = [to_greedy(a.slot.config) for a in asked]
    ends = [a.slot.task.special.eos for a in asked]
    alone = list(range(len(asked)))
    found = predict_states(
        tasks, len(asked), lambda prompts: decode_chunks(pack, prompts, greedy, alone, ends)
    )
    for place, dialogues in found.items():
        reading = readings[place]
        reading.gold = without_prompts(reading.windows)
        encoded = asked[place].slot.task.encode_whole(dialogues)
        reading.windows = [
            replace(w, is_target=np.zeros_like(w.is_target), replies=()) for w in encoded
        ]
        reading.states = {
            (d.id, number): turn.state for d in dialogues for number, turn in enumerate(d.turns)
        }


def find_leaders(asked: Sequence[GenerationRequest]) -> list[int]:
    """For each slot the first one with its very model, prompts and dialogues: they differ in
    decoding alone, and share the prefill. Trained slots lead themselves."""
    first: dict[object, int] = {}
    leaders = []
    for place, a in enumerate(asked):
        slot = a.slot
        key = (slot.config.adapter, id(slot.task), a.asked._replace(bias=None))
        is_trained = slot.config.method != "none"
        leaders.append(place if is_trained else first.setdefault(key, place))
    return leaders


def decode_chunks(
    pack: Decodable,
    windows: Sequence[Sequence[Window]],
    configs: Sequence[TrialConfig],
    leaders: Sequence[int],
    ends: Sequence[int],
    advance: Callable[[int], object] = lambda replies: None,
) -> list[SlotOutput]:
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
    made = [SlotOutput() for _ in windows]
    nothing = Layout.of([0] * len(windows), pack.device)
    pack.adapters.begin_inference(span, nothing, pack.base.compute_dtype)
    while any(queues):
        decoded = decoder.decode(take_chunk(pack, queues, readers), configs, leaders, ends)
        for share, part in zip(made, decoded, strict=True):
            share.add(part)
    pack.has_generated = decoder.is_ready
    return made


def take_chunk(
    pack: Decodable, queues: list[list[Window]], readers: list[list[TrialConfig]]
) -> list[list[Window]]:
    """The next windows of every slot whose keys and values fit the memory set aside: as many of
    each slot, since products over unlike numbers are slower; the first ones of some in any case."""
    left_tokens = pack.memory.room_tokens()
    if not any(window.prompts for queue in queues for window in queue):
        left_tokens = min(
            left_tokens, SCORED_TOKENS[pack.device.type]
        )  # no keys and values are kept
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
