"""Windows of all slots, decoded together, in chunks that the memory holds."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from trainable.corpus.encode import Window
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
from trainable.model.base import Base
from trainable.trial import TrialConfig

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
