"""How many trials one engine should hold: as many as the memory takes, up to the best, beyond which
one more trial only delays the others."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from trainable.finetuner import BestSlots
from trainable.system.activity import tell
from trainable.system.shortage import is_out_of_memory
from trainable.trial import TrialConfig

if TYPE_CHECKING:
    from trainable.engine.pack import Pack

ENOUGH = 0.95  # of the most tokens a second
NOT_BEFORE = 4  # slots: two doublings may bring together what each alone does not
EACH_S = 3.0  # for a number of slots
MOST_S = 60.0  # for all of them
ENGINE = "engine."  # the key of what an engine is at before it holds trials


def find_best_slots(pack: Pack, config: TrialConfig) -> BestSlots:
    """Trains ever more copies of the trial in the empty pack, each number for about EACH_S, until
    more bring nothing or half of MOST_S is over: the next number takes no longer than those before.
    Raises what one slot alone raises."""
    from trainable.engine.throughput import measure_training

    fitting, rates, started_s = pack.bank.slots, dict[int, float](), time.perf_counter()
    for slots in (n for n in (1, 2, 4, 8, 16, 32) if n <= fitting):
        if rates and time.perf_counter() - started_s > MOST_S / 2:
            break
        tell(f"measuring {slots} at a time", key=ENGINE)
        for number in range(len(pack.slots), slots):
            pack.join(str(number), replace(config, seed=config.seed + number), None)
        try:
            rates[slots] = measure_training(pack, EACH_S).tokens_per_s
        except Exception as error:
            if not rates or not is_out_of_memory(error):
                raise
            break  # as many as went before are what fits
        if slots >= NOT_BEFORE and pick_slots(rates) < slots:
            break
    return BestSlots(slots=pick_slots(rates), tokens_per_s=rates, fitting=fitting)


def pick_slots(tokens_per_s: Mapping[int, float]) -> int:
    """The fewest slots that read about as fast as the fastest.

    >>> pick_slots({1: 100, 2: 190, 4: 300, 8: 310}), pick_slots({1: 100, 2: 200})
    (4, 2)
    """
    most = max(tokens_per_s.values())
    return min(slots for slots, rate in tokens_per_s.items() if rate >= ENOUGH * most)
