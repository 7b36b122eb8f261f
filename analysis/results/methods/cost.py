"""What training costs in each variant: packs of one variant alone, on one base model.

python analysis/results/methods/cost.py costs.json --set base_model=FOLDER --set corpus=FOLDER
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from points import ARMS, spell

from trainable.engine.pack import Pack
from trainable.engine.throughput import Speed, measure_training
from trainable.model.base import BaseSpec, load_base
from trainable.trial import TrialConfig
from tune.plan.flags import parse_settings
from tune.search.profiles import BASES

MOST_STRETCHES = 12  # of one variant


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--variants", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a stretch")
    parser.add_argument("--profile", default="lab")
    parser.add_argument("--device", default="auto")
    flags = parser.parse_args()
    fields = {**BASES[flags.profile], **parse_settings(flags.set), "lora_rank": 8}
    fields |= {"warmup_turns": 0, "train_turns": 10**6}
    costs = {}
    for is_dora in (False, True):  # DoRA in a pack of its own: it makes the bank's rows wider
        names = [name for name in flags.variants if bool(ARMS[name].get("dora")) == is_dora]
        configs = [TrialConfig.from_dict({**fields, **spell(name, 1e-3)}) for name in names]
        if not configs:
            continue
        base = load_base(BaseSpec.of(configs[0], device=flags.device))
        pack = Pack(base, flags.slots, max_rank=16)
        for name, config in zip(names, configs, strict=True):
            costs[name] = measure(pack, config, flags.seconds)
            print(name, json.dumps(costs[name]), flush=True)
            flags.out.write_text(json.dumps(costs, indent=1) + "\n")


def measure(pack: Pack, config: TrialConfig, stretch_s: float) -> dict[str, float]:
    """Tokens trained a second with all slots at work; seconds of a trial's start and of passes that
    were compiled and recorded. Stretches follow each other until one has no such pass any more."""
    keys = [str(number) for number in range(len(pack.rows))]
    started_s = time.perf_counter()
    for number, key in enumerate(keys):
        pack.join(key, TrialConfig.from_dict({**config.to_dict(), "seed": number}), None)
    join_s = (time.perf_counter() - started_s) / len(keys)
    begun_s = time.perf_counter()
    speeds = [measure_training(pack, stretch_s)]  # never the first: the device warms up
    while len(speeds) == 1 or (count_readied(speeds[-1:]) and len(speeds) < MOST_STRETCHES):
        speeds.append(measure_training(pack, stretch_s))
    readied_s = time.perf_counter() - begun_s - sum(each.seconds for each in speeds)
    for key in keys:
        pack.leave(key)
    return {
        "tokens_per_s": speeds[-1].tokens_per_s,
        "join_s": join_s,
        "peak_gib": max(each.peak_gib for each in speeds),
        "readied_passes": count_readied(speeds),
        "readied_s": readied_s,
        "readied_while_measured": count_readied(speeds[-1:]),
    }


def count_readied(speeds: Sequence[Speed]) -> int:
    return sum(speed.readied.passes for speed in speeds if speed.readied is not None)


if __name__ == "__main__":
    main()
