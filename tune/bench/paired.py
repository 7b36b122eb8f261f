"""Does a change of how trials are computed change what becomes of them?
`python -m tune.bench.paired --change base_products=fp8 --set FIELD=VALUE ...`

Trials with a seed and a rate each train in one pack, then again in smaller packs, which shows what
rounding alone does, then with the change. Each is compared with itself in the first: its final
loss on validation dialogues, and its greedy replies, word for word.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.engine.device.memory import give_back_memory
from trainable.engine.pack import Pack
from trainable.model.base import BaseSpec, load_base
from trainable.storage.adapter import rank_of
from trainable.trial import TrialConfig
from tune.bench.scoring import add_scoring, make_replies, measure_losses, write_rows
from tune.plan.single import add_trial_flags, spell_trial

NEAR_NATS = 0.005


@dataclass(frozen=True)
class End:
    """What has become of a trial."""

    loss_nats: float
    replies: tuple[str, ...]


def draw_trials(config: TrialConfig, number: int) -> dict[str, TrialConfig]:
    """With rates from a half to one and a half of the config's."""
    rate = config.learning_rate or 0.0
    return {
        str(n): replace(config, seed=config.seed + n, learning_rate=rate * (0.5 + n / number))
        for n in range(number)
    }


def train_all(
    trials: Mapping[str, TrialConfig], slots: int, options: argparse.Namespace
) -> dict[str, End]:
    """So many at a time in one pack, to their ends."""
    first = next(iter(trials.values()))
    give_back_memory()
    pack = Pack(load_base(BaseSpec.of(first, device=options.device)), slots, rank_of(first))
    ends: dict[str, End] = {}
    keys = list(trials)
    for group in (keys[low : low + slots] for low in range(0, len(keys), slots)):
        for key in group:
            pack.join(key, trials[key], None)
            pack.aim(key, options.turns)
        while busy := [slot for slot in pack.slots.values() if slot.is_training]:
            pack.train_pass(busy)
        ends |= measure(pack, options)
        for key in group:
            pack.leave(key)
    return ends


def measure(pack: Pack, options: argparse.Namespace) -> dict[str, End]:
    slots = list(pack.slots.values())
    losses = measure_losses(pack, slots, options.loss_dialogues)
    made = make_replies(pack, slots, options.reply_dialogues)
    return {
        slot.key: End(
            losses[slot.key].loss_nats,
            tuple(t["response"] for turns in made[slot.key].responses.values() for t in turns),
        )
        for slot in slots
    }


def compare(way: str, ends: Mapping[str, End], wanted: Mapping[str, End]) -> Iterator[Any]:
    """A row a trial."""
    for key, end in ends.items():
        pairs = list(zip(end.replies, wanted[key].replies, strict=True))
        yield {
            "way": way,
            "trial": key,
            "loss_nats": end.loss_nats,
            "apart_nats": end.loss_nats - wanted[key].loss_nats,
            "equal_replies": fmean(one == other for one, other in pairs),
        }


def render(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"| against one pack | apart, mean [nats] | largest | within {NEAR_NATS} | equal replies "
        "| fewest |",
        "|---" * 6 + "|",
    ]
    for way in dict.fromkeys(row["way"] for row in rows):
        own = [row for row in rows if row["way"] == way]
        apart, equal = ([row[name] for row in own] for name in ("apart_nats", "equal_replies"))
        sizes = [abs(nats) for nats in apart]
        lines.append(
            f"| {way} | {fmean(apart):+.5f} | {max(sizes):.5f} | "
            f"{sum(size <= NEAR_NATS for size in sizes)} of {len(own)} | "
            f"{100 * fmean(equal):.1f} % | {100 * min(equal):.1f} % |"
        )
    return "\n".join(lines)


def compare_ways(options: argparse.Namespace) -> Outcome:
    """Prints the table, and writes a line a trial to --out."""
    config = replace(spell_trial(options.profile, options.set), train_turns=options.turns)
    changed = spell_trial(options.profile, [*options.set, *options.change])
    changed = replace(changed, train_turns=options.turns)
    trials, others = (draw_trials(each, options.trials) for each in (config, changed))
    wanted = train_all(trials, options.trials, options)
    rows: list[Any] = []
    for way, group, slots in (
        (f"packs of {options.slots}", trials, options.slots),
        (" ".join(options.change), others, options.trials),
    ):
        rows += compare(way, train_all(group, slots, options), wanted)
        print(render(rows), flush=True)
    write_rows(options.out, rows)
    return Outcome(facts={"out": options.out, "rows": rows})


def build_parser() -> Parser:
    parser = Parser("tune.bench.paired", __doc__, name="bench.paired")
    add_trial_flags(parser)
    parser.add_argument(
        "--change", action="append", required=True, metavar="FIELD=VALUE", help="as in --set"
    )
    parser.add_argument("--trials", type=int, default=16, help="in the one pack")
    parser.add_argument("--slots", type=int, default=8, help="of the smaller packs")
    parser.add_argument("--turns", type=int, default=1600, help="system turns a trial trains on")
    add_scoring(parser, 100, 50, "paired.jsonl")
    return parser


main = make_main(build_parser, compare_ways)

if __name__ == "__main__":
    start_command(main)
