"""What a turn costs in each variant: packs of one variant alone, on one base model.

python analysis/results/methods/cost.py costs.json --set base_model=FOLDER --set corpus=FOLDER
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from points import ARMS, spell

from trainable.engine.pack import Pack
from trainable.engine.throughput import measure_training
from trainable.model.base import BaseSpec, load_base
from trainable.trial import TrialConfig
from tune.plan.flags import parse_settings
from tune.search.profiles import BASES


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--profile", default="lab")
    parser.add_argument("--device", default="auto")
    flags = parser.parse_args()
    fields = {**BASES[flags.profile], **parse_settings(flags.set), "lora_rank": 8}
    fields |= {"warmup_turns": 0, "train_turns": 10**6}
    configs = {name: TrialConfig.from_dict({**fields, **spell(name, 1e-3)}) for name in ARMS}
    spec = BaseSpec.of(configs["plain"], device=flags.device)
    pack = Pack(load_base(spec), flags.slots, max_rank=16)
    # DoRA last: it makes the bank's rows wider for good
    order = sorted(configs, key=lambda name: bool(configs[name].dora))
    costs = {name: measure(pack, configs[name], flags.seconds) for name in order}
    flags.out.write_text(json.dumps(costs, indent=1) + "\n")


def measure(pack: Pack, config: TrialConfig, seconds: float) -> dict[str, float]:
    """Seconds of a turn with all slots at work, and of a trial's start."""
    keys = [str(number) for number in range(len(pack.rows))]
    started_s = time.perf_counter()
    for number, key in enumerate(keys):
        pack.join(key, TrialConfig.from_dict({**config.to_dict(), "seed": number}), None)
    join_s = (time.perf_counter() - started_s) / len(keys)
    measure_training(pack, seconds)  # makes what is recorded and compiled
    before = sum(slot.turns_seen for slot in pack.slots.values())
    speed = measure_training(pack, seconds)
    turns = sum(slot.turns_seen for slot in pack.slots.values()) - before
    for key in keys:
        pack.leave(key)
    found = {"turn_s": speed.seconds / turns, "tokens_per_s": speed.tokens_per_s}
    return {**found, "join_s": join_s, "peak_gib": speed.peak_gib}


if __name__ == "__main__":
    main()
