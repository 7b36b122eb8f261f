"""Does a trained adapter say by peft what it says in the engine? python -m tune.bench.trained

Trains a small adapter in the packed engine, beside another one, on a real base model (--set
base_model=FOLDER), writes it in peft's format, and compares with transformers and peft on the same
weights: log probabilities, the gradient of one pass, greedy replies. In 16 bits neither side is
exact: each one's distance from the same model in 32 bits is told, and the share of its replies that
are those of 32 bits. Prints one line of JSON; exit code 1 where the engine is further off than
peft's own rounding explains.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.engine.pack import Pack
from trainable.engine.throughput import describe_gpu
from trainable.model.base import BaseSpec, load_base
from trainable.model.verdicts import recall_verdict
from trainable.storage.adapter import rank_of
from trainable.trial import ConfigError, TrialConfig
from tune.bench.engine_findings import Findings, compute_findings, judge
from tune.bench.peft_findings import Tuned
from tune.plan.single import add_trial_flags, spell_trial
from tune.terminal.quiet import quieten

MINE, OTHER = "mine", "other"


def compare_trained(options: argparse.Namespace) -> Outcome:
    quieten()
    if min(options.turns, options.windows, options.dialogues) < 1:
        raise ConfigError("--turns, --windows and --dialogues must be above 0")
    config = replace(spell_trial(options.profile, options.set), train_turns=options.turns)
    clock = Clock()
    pack = Pack(load_base(BaseSpec.of(config, device=options.device)), 2, rank_of(config))
    clock.note("open_s")
    train(pack, config, options.turns)
    clock.note("train_s")
    mine, other = pack.slots[MINE], pack.slots[OTHER]
    found = compute_findings(pack, mine, other, options.windows, options.dialogues)
    clock.note("engine_s")
    with tempfile.TemporaryDirectory() as folder:
        pack.copy_state(MINE).write(Path(folder))
        tuned = Tuned.load(BaseSpec.of(config, device=options.device), Path(folder), mine.task)
    windows = mine.task.held_out("validation", options.windows)
    read = mine.task.held_out("validation", options.dialogues)
    by_peft = Findings(*tuned.differentiate(windows), tuned.reply(read, config))
    clock.note("peft_s")
    tuned.raise_precision()
    exact = Findings(*tuned.differentiate(windows), tuned.reply(read, config))
    clock.note("exact_s")
    row = {**describe(config, pack), **judge(found, by_peft, exact), **clock.spent_s}
    print(json.dumps(row))
    return Outcome(facts=row, code=0 if row["is_right"] else 1)


class Clock:
    """Seconds of each part of the run."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = {}
        self._last_s = time.perf_counter()

    def note(self, name: str) -> None:
        """What has passed since the last note."""
        now_s = time.perf_counter()
        self.spent_s[name] = round(now_s - self._last_s, 1)
        self._last_s = now_s
        print(f"{name[:-2]}: {self.spent_s[name]} s", file=sys.stderr, flush=True)


def train(pack: Pack, config: TrialConfig, turns: int) -> None:
    """The trial beside one of another seed. What is scored and exported is then what stands there:
    the averaged weights."""
    for number, key in enumerate((MINE, OTHER)):
        pack.join(key, replace(config, seed=config.seed + number), None)
        pack.aim(key, turns)
    while busy := [slot for slot in pack.slots.values() if slot.is_training]:
        pack.train_pass(busy)
    pack.bank.params.copy_(pack.bank.average)
    pack.adapters.invalidate()


def describe(config: TrialConfig, pack: Pack) -> dict[str, Any]:
    base = pack.base
    verdict = None if base.key is None else recall_verdict(base.key, base.checked_on)
    return {
        "model": Path(config.base_model).name,
        "device": describe_gpu()[0] if pack.device.type == "cuda" else "cpu",
        "held_as": base.residency,
        "dtype": str(base.compute_dtype).removeprefix("torch."),
        "trained_turns": pack.slots[MINE].turns_seen,
        "check_s": None if verdict is None else verdict.check_s,
    }


def build_parser() -> Parser:
    parser = Parser("tune.bench.trained", __doc__, name="bench.trained")
    add_trial_flags(parser)
    parser.add_argument("--turns", type=int, default=400, help="system turns trained on")
    parser.add_argument("--windows", type=int, default=8, help="dialogues of the log probabilities")
    parser.add_argument("--dialogues", type=int, default=24, help="dialogues to reply to")
    return parser


main = make_main(build_parser, compare_trained)

if __name__ == "__main__":
    start_command(main)
