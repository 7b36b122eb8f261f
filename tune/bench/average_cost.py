"""What does the running average cost? `python -m tune.bench.average_cost --set FIELD=VALUE ...`

Times training passes of a pack, and beside them the two lines of the optimizer that follow the
weights, over the same rows, by themselves: in the optimizer's one kernel they read less, so that
this is the most they can cost.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import torch
from torch import Tensor

from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.engine.device.compiled import fused
from trainable.engine.pack import Pack
from trainable.engine.slots.adamw import follow
from trainable.model.base import BaseSpec, load_base
from trainable.storage.adapter import rank_of
from tune.bench.profile import run_steps
from tune.plan.single import add_trial_flags, spell_trial

WARM_UP = 20  # passes: all that they compile and record is there behind these


def keep_average(average: Tensor, weights: Tensor, share: Tensor) -> None:
    """In place, as the optimizer's kernel does."""
    average.copy_(follow(average, weights, share))


def measure_cost(options: argparse.Namespace) -> Outcome:
    config = spell_trial(options.profile, options.set)
    pack = Pack(
        load_base(BaseSpec.of(config, device=options.device)), options.slots, rank_of(config)
    )
    for number in range(options.slots):
        pack.join(str(number), replace(config, seed=number), None)
        pack.aim(str(number), sys.maxsize)
    slots = list(pack.slots.values())
    run_steps(pack, lambda: pack.train_pass(slots), WARM_UP)
    pass_s = run_steps(pack, lambda: pack.train_pass(slots), options.passes) / options.passes
    work = fused(keep_average, pack.device)
    average, weights = pack.bank.average, pack.bank.params
    share = torch.full((len(average), 1), 0.5, device=pack.device)
    run_steps(pack, lambda: work(average, weights, share), WARM_UP)
    own_s = run_steps(pack, lambda: work(average, weights, share), options.passes) / options.passes
    row = {
        "slots": options.slots,
        "pass_ms": 1000 * pass_s,
        "average_ms": 1000 * own_s,
        "share": own_s / pass_s,
        "mib": average.nbytes / 2**20,
    }
    print(
        f"{options.slots} slots: a pass takes {row['pass_ms']:.2f} ms; their averages at the most "
        f"{row['average_ms']:.3f} ms of it ({row['share']:.1%}), and {row['mib']:.1f} MiB"
    )
    return Outcome(facts={"rows": [row]})


def build_parser() -> Parser:
    parser = Parser("tune.bench.average_cost", __doc__, name="bench.average_cost")
    add_trial_flags(parser)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--passes", type=int, default=100)
    return parser


main = make_main(build_parser, measure_cost)

if __name__ == "__main__":
    start_command(main)
