"""Replies of all due slots, decoded together, and the loss on the corpus's own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from trainable.corpus.encode import Window
from trainable.corpus.losses import Losses
from trainable.corpus.prompt import finds_state
from trainable.dialogue.dialogue import Dialogue
from trainable.engine.decode.belief_states import predict_states, to_greedy
from trainable.engine.decode.chunks import Decodable, decode_chunks
from trainable.engine.decode.decode import SlotOutput
from trainable.engine.decode.own_replies import follows_own, reply_in_turn
from trainable.engine.decode.turn_by_turn import Decode, Talk
from trainable.engine.slots.slot import Slot
from trainable.engine.slots.task import group_by_dialogue
from trainable.result import ValidationRequest
from trainable.system.activity import ReplyCounter
from trainable.trial import TrialConfig

Responses = dict[str, list[dict[str, Any]]]  # mwzeval's format


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
    own = {place for place in replying if follows_own(asked[place].slot.config)}
    find_states(pack, asked, {place: readings[place] for place in replying - own})
    total = sum(window.n_turns for leader in leaders for window in readings[leader].windows)
    counter = ReplyCounter([slot.key for slot in slots], total)
    for place in own:  # its prompts come up turn by turn
        readings[place] = Reading(gold=without_prompts(readings[place].windows))
    configs = [a.config for a in asked]
    ends = [a.slot.task.special.eos for a in asked]
    read = [reading.windows for reading in readings]
    made = decode_chunks(pack, read, configs, leaders, ends, counter.add)
    in_turn = follow_own(pack, asked, {place: readings[place] for place in own}, counter.add)
    scored = decode_chunks(pack, [reading.gold for reading in readings], configs, leaders, ends)
    pack.adapters.invalidate()
    results = {}
    for place, slot in enumerate(slots):
        made[place].add(in_turn[place])
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
    talks = open_talks(asked, [p for p in readings if finds_state(asked[p].slot.config)])
    if not talks:
        return
    predict_states(talks, len(asked), decode_alone(pack, asked, to_greedy))
    for place, talk in talks.items():
        reading = readings[place]
        reading.gold = without_prompts(reading.windows)
        encoded = talk.task.encode_whole(talk.dialogues)
        reading.windows = [
            replace(w, is_target=np.zeros_like(w.is_target), replies=()) for w in encoded
        ]
        reading.states = list_states(talk.dialogues)


def follow_own(
    pack: Decodable,
    asked: Sequence[GenerationRequest],
    readings: Mapping[int, Reading],
    advance: Callable[[int], object],
) -> list[SlotOutput]:
    """Where prompts are to show the model's own earlier replies: what it replies, turn by turn."""
    talks = open_talks(asked, readings)
    decode = decode_alone(pack, asked, advance=advance)
    made = reply_in_turn(talks, len(asked), decode, decode_alone(pack, asked, to_greedy))
    for place, talk in talks.items():
        if finds_state(talk.task.config):
            readings[place].states = list_states(talk.dialogues)
    return made


def open_talks(asked: Sequence[GenerationRequest], places: Iterable[int]) -> dict[int, Talk]:
    """The dialogues that those places are validated on."""
    talks = {}
    for place in places:
        task, request = asked[place].slot.task, asked[place].asked
        talks[place] = Talk(task, [*task.dialogues(request.split, request.n_dialogues)])
    return talks


def list_states(dialogues: Iterable[Dialogue]) -> dict[tuple[str, int], Any]:
    return {(d.id, number): turn.state for d in dialogues for number, turn in enumerate(d.turns)}


def decode_alone(
    pack: Decodable,
    asked: Sequence[GenerationRequest],
    shape: Callable[[TrialConfig], TrialConfig] = lambda config: config,
    advance: Callable[[int], object] = lambda replies: None,
) -> Decode:
    """Decodes every slot's own windows, as `shape` makes its config."""
    configs = [shape(a.config) for a in asked]
    ends = [a.slot.task.special.eos for a in asked]
    alone = list(range(len(asked)))
    return lambda windows: decode_chunks(pack, windows, configs, alone, ends, advance)


def find_leaders(asked: Sequence[GenerationRequest]) -> list[int]:
    """For each slot the first one with its very model, prompts and dialogues: they differ in
    decoding alone, and share the prefill. Trained slots lead themselves, and so do those whose
    prompts show their own replies."""
    first: dict[object, int] = {}
    leaders = []
    for place, a in enumerate(asked):
        slot = a.slot
        key = (slot.config.adapter, id(slot.task), a.asked._replace(bias=None))
        is_apart = slot.config.method != "none" or follows_own(slot.config)
        leaders.append(place if is_apart else first.setdefault(key, place))
    return leaders
