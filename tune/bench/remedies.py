"""Which weights of a trial should be scored? `python -m tune.bench.remedies --model M --corpus C`

Random points of a space, each with the same seeds (so that seeds pair points by their
data order), train together at constant rates. At every rung each way of choosing a trial's weights
is scored; a way is good when points differ more than seeds do: F, the mean square of points over
that of what points and seeds (as blocks) leave. Ways at equal training seconds:

last        the last step's weights
mean/9      a running average over about the last ninth of the steps (TrialConfig.averaging 1/9)
mean/3      over about the last third
three       the mean of the weights at 7/9, 8/9 and 9/9 of the way
branch      a linear decay to zero over a tenth of the way (wsd's), branched off earlier so that
            constant part and decay together take as long
cosine      the same points and seeds with a cosine schedule that ends at the last rung
cosine/9    mean/9 of those
clean       mean/9 of trials whose targets leave out replies that still spell a value out
"""

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.engine.pack import Pack
from trainable.engine.slots.optimizer import average_weight
from trainable.engine.slots.slot import Slot, restore_slot
from trainable.evaluation.validation import Generated
from trainable.model.base import BaseSpec, load_base
from tune.bench.remedy_trials import Trial, leave_out_spelt, list_trials
from tune.bench.repeats import print_table
from tune.bench.scoring import (
    add_scoring,
    make_replies,
    measure_losses,
    score_replies,
    write_rows,
)

MEANS = {"mean/9": 1 / 9, "mean/3": 1 / 3}
GPU_SHARE = 0.3  # of its memory for passes: the rows of so many slots take the rest
DECAY = 0.1  # wsd's share of the way


class Race:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.configs, self.trials = list_trials(options)
        first = next(iter(self.configs.values()))
        slots, rank = len(self.configs), max(c.lora_rank or 1 for c in self.configs.values())
        self.pack = Pack(
            load_base(BaseSpec.of(first, device=options.device)), slots, rank, None, GPU_SHARE
        )
        for trial in self.trials:
            self.pack.join(trial.key, self.configs[trial.key], None)
            if trial.arm == "clean":
                order = self.pack.slots[trial.key].order
                assert order is not None
                order.windows = leave_out_spelt(self.pack.slots[trial.key])
        self.lines: list[dict[str, Any]] = []
        self.to_score: list[tuple[dict[str, Any], Generated]] = []

    def run(self) -> None:
        seen = 0
        for rung in self.options.rungs:
            self.branch(rung)
            for mark in (7, 8, 9):
                self.train(self.trials, seen + (rung - seen) * mark // 9)
                for trial in self.trials:
                    trial.marks = [*trial.marks, self.row(trial).clone()][-3:]
            self.score_all(rung)
            seen = rung

    def train(self, trials: Sequence[Trial], turns: int) -> None:
        """All to that many turns; means follow every step."""
        for trial in trials:
            self.pack.aim(trial.key, turns)
        by_key = {trial.key: trial for trial in trials}
        while busy := [s for s in self.slots_of(trials) if s.is_training]:
            self.pack.train_pass(busy)
            for slot in busy:
                self.follow(by_key[slot.key], slot)

    def follow(self, trial: Trial, slot: Slot) -> None:
        if slot.steps == trial.averaged_steps:
            return
        trial.averaged_steps, row = slot.steps, self.row(trial)
        for way, share in MEANS.items():
            mean = trial.means.setdefault(way, row.clone())
            mean.lerp_(row, average_weight(share, slot.steps))

    def branch(self, rung: int) -> None:
        """Before the constant run passes it: the decay that ends after as many seconds as the rung
        takes, scored, and gone back from."""
        trials = [t for t in self.trials if t.arm == "constant"]
        end = round(rung / (1 + DECAY))
        self.train(self.trials, round(end * (1 - DECAY)))
        kept = {t.key: (self.pack.copy_state(t.key), t.averaged_steps) for t in trials}
        means = {t.key: {way: m.clone() for way, m in t.means.items()} for t in trials}
        for trial in trials:
            slot = self.pack.slots[trial.key]
            slot.config = replace(slot.config, schedule="wsd", decay_fraction=DECAY)
        self.train(trials, end)
        self.score_way("branch", rung, trials, self.row)
        for trial in trials:
            slot = self.pack.slots[trial.key]
            slot.config, slot.stable_run = self.configs[trial.key], None
            state, trial.averaged_steps = kept[trial.key]
            restore_slot(slot, self.pack.bank, self.pack.rows.index(trial.key), state)
            trial.means = means[trial.key]
        self.pack.adapters.invalidate()

    def score_all(self, rung: int) -> None:
        arms = {arm: [t for t in self.trials if t.arm == arm] for arm in ("constant", "cosine")}
        clean = [t for t in self.trials if t.arm == "clean"]
        self.score_way("last", rung, arms["constant"], self.row)
        for way in MEANS:
            self.score_way(way, rung, arms["constant"], partial(pick_mean, way=way))
        self.score_way("three", rung, arms["constant"], lambda t: torch.stack(t.marks).mean(0))
        self.score_way("cosine", rung, arms["cosine"], self.row)
        mean_of_ninth = partial(pick_mean, way="mean/9")
        self.score_way("cosine/9", rung, arms["cosine"], mean_of_ninth)
        self.score_way("clean", rung, clean, mean_of_ninth)

    def score_way(
        self, way: str, rung: int, trials: Sequence[Trial], weights: Callable[[Trial], Tensor]
    ) -> None:
        if not trials:
            return
        for trial in trials:
            self.pack.bank.average[self.pack.rows.index(trial.key)] = weights(trial)
        losses = measure_losses(self.pack, self.slots_of(trials), self.options.loss_dialogues)
        is_last = rung == self.options.rungs[-1]
        n_replied = self.options.reply_dialogues if is_last else 0
        made = make_replies(self.pack, self.slots_of(trials), n_replied)
        for trial in trials:
            line = {
                **{"way": way, "rung_turns": rung, "point": trial.point, "seed": trial.seed},
                "loss": losses[trial.key].loss_nats,
            }
            self.lines.append(line)
            if trial.key in made:
                self.to_score.append((line, made[trial.key]))
        print(f"{rung} {way}: scored", flush=True)

    def row(self, trial: Trial) -> Tensor:
        return self.pack.bank.params[self.pack.rows.index(trial.key)]

    def slots_of(self, trials: Sequence[Trial]) -> list[Slot]:
        return [self.pack.slots[trial.key] for trial in trials]


def pick_mean(trial: Trial, way: str) -> Tensor:
    return trial.means[way]


def race_all(options: argparse.Namespace) -> Outcome:
    started_s = time.perf_counter()
    race = Race(options)
    print(
        f"{len(race.trials)} trials joined at {time.perf_counter() - started_s:.0f} s", flush=True
    )
    race.run()
    with ProcessPoolExecutor(options.processes) as pool:
        for (line, _), scores in zip(
            race.to_score, pool.map(score_replies, [g for _, g in race.to_score]), strict=True
        ):
            line |= scores
    write_rows(options.out, race.lines)
    print_table(race.lines)
    print(f"{time.perf_counter() - started_s:.0f} s")
    return Outcome(facts={"out": options.out, "rows": race.lines})


def build_parser() -> Parser:
    parser = Parser("tune.bench.remedies", __doc__, name="bench.remedies")
    parser.add_argument(
        "--profile", choices=("tiny", "lab"), default="tiny", help="defaults of all fields"
    )
    parser.add_argument("--space", default="qlora", help="the points are drawn from this space")
    parser.add_argument("--model", default="tiny", help="the base model")
    parser.add_argument("--corpus", default="cambridge", help="the corpus")
    parser.add_argument("--quantisation", default="nf4", help="format of the base's weights")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--points", type=int, default=6, help="random points")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each point")
    arms = ["constant", "cosine", "clean"]
    parser.add_argument("--arms", nargs="+", default=arms, help="schedules and targets to train")
    parser.add_argument(
        "--rungs", type=int, nargs="+", default=[400, 1600], help="turns at which ways are scored"
    )
    parser.add_argument("--processes", type=int, default=2, help="processes that score replies")
    add_scoring(parser, 50, 50, "remedies.jsonl")
    return parser


main = make_main(build_parser, race_all)

if __name__ == "__main__":
    start_command(main)
