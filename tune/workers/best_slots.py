"""How many trials one engine should hold: as many as the memory takes, up to the best, beyond which
one more trial only delays the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from trainable.engine.device.memory import measure_free_bytes
from trainable.engine.layers.lora import shape_of
from trainable.engine.pack import Pack
from trainable.engine.slots.bank import count_slot_bytes
from trainable.engine.throughput import measure_training
from trainable.model.base import Base, BaseSpec, load_base
from trainable.model.modules import list_linear_paths
from trainable.trial import TrialConfig

MOST_SLOTS = 32
BANK_SHARE = 0.25  # of the memory that the base model leaves; the rest is for passes and caches
CPU_BANK_BYTES = 2**30
MIN_SPEEDUP = 1.15  # twice the slots must read so many times the tokens a second


@dataclass(frozen=True, kw_only=True)
class BestSlots:
    slots: int
    tokens_per_s: Mapping[int, float]  # slots -> tokens read a second, all slots together
    fitting: int  # slots that the memory takes

    def describe(self) -> str:
        rates = ", ".join(f"{n}: {rate:,.0f}" for n, rate in self.tokens_per_s.items())
        return f"measured tokens/s by slots {rates}; memory for {self.fitting}"


def find_best_slots(
    spec: BaseSpec, config: TrialConfig, max_rank: int, budget_s: float = 3.0
) -> BestSlots:
    """Trains ever more copies of the trial, each for about `budget_s`, and forgets them. Raises
    what one slot alone raises."""
    base = load_base(spec)
    fitting = count_fitting(base, max_rank)
    pack = Pack(base, fitting, max_rank)
    rates: dict[int, float] = {}
    for slots in (n for n in (1, 2, 4, 8, 16, 32) if n <= fitting):
        for number in range(len(pack.slots), slots):
            pack.join(str(number), replace(config, seed=config.seed + number), None)
        try:
            rates[slots] = measure_training(pack, budget_s).tokens_per_s
        except torch.OutOfMemoryError:
            if not rates:
                raise
            break  # as many as went before are what fits
        if pick_slots(rates) < slots:
            break
    return BestSlots(slots=pick_slots(rates), tokens_per_s=rates, fitting=fitting)


def count_fitting(base: Base, max_rank: int) -> int:
    """Slots whose bank takes a modest share of the memory, at least 1."""
    paths = list_linear_paths(base.model)
    shapes = [shape_of(base.model.get_submodule(path)) for path in paths]
    room = CPU_BANK_BYTES
    if base.device.type == "cuda":
        room = int(BANK_SHARE * measure_free_bytes(base.device))
    return min(MOST_SLOTS, max(1, room // count_slot_bytes(shapes, max_rank)))


def pick_slots(tokens_per_s: Mapping[int, float]) -> int:
    """The first number of slots that the next one measured does not beat by enough.

    >>> pick_slots({1: 100, 2: 190, 4: 300, 8: 310}), pick_slots({1: 100, 2: 200})
    (4, 2)
    """
    counts = sorted(tokens_per_s)
    for few, many in pairwise(counts):
        if tokens_per_s[many] < MIN_SPEEDUP * tokens_per_s[few]:
            return few
    return counts[-1]
