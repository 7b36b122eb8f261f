"""Does a trial depend on its pack? `python -m tune.bench.same_trial --set FIELD=VALUE ...`

The same config and seed trains alone, in packs of 2, 4 and 8 with others of other seeds and rates,
and in a pack that it leaves half-way for another one. Each time its last weights and its averaged
ones (--set averaging=) are scored: nats a target token, and greedy replies.
"""

import argparse
import json
from dataclasses import replace

from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.engine.pack import Pack
from trainable.engine.slots.slot import SlotState
from trainable.model.base import BaseSpec, load_base
from trainable.storage.adapter import rank_of
from trainable.trial import TrialConfig
from tune.bench.scoring import add_scoring, make_replies, measure_losses, score_replies
from tune.plan.single import add_trial_flags, spell_trial

MINE = "mine"


def train_in_pack(
    config: TrialConfig, slots: int, device: str, turns: int, state: SlotState | None = None
) -> Pack:
    """A pack of so many trials, all trained up to `turns`: the trial itself, last to join, fresh or
    from `state`, and others with other seeds and rates."""
    pack = Pack(load_base(BaseSpec.of(config, device=device)), slots, rank_of(config))
    for number in range(1, slots):
        rate = (config.learning_rate or 0.0) * (0.5 + number / slots)
        other = replace(config, seed=config.seed + number, learning_rate=rate)
        pack.join(f"other{number}", other, None)
    pack.join(MINE, config, state)
    for key in pack.slots:
        pack.aim(key, turns)
    while busy := [slot for slot in pack.slots.values() if slot.is_training]:
        pack.train_pass(busy)
    return pack


def measure(pack: Pack, weights: str, n_loss: int, n_reply: int) -> dict[str, float]:
    """Of the trial's last weights or of their average, as `weights` says."""
    slot, row = pack.slots[MINE], pack.rows.index(MINE)
    if weights == "last":
        pack.bank.average[row] = pack.bank.params[row]
    loss = measure_losses(pack, [slot], n_loss)[MINE].loss_nats
    return {"loss": loss, **score_replies(make_replies(pack, [slot], n_reply)[MINE])}


def compare_packs(options: argparse.Namespace) -> Outcome:
    """Adds a line a score to --out, as soon as it is measured."""
    rows = []
    config = replace(spell_trial(options.profile, options.set), train_turns=options.turns)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for packs in options.packs:
        sizes, state = [int(part) for part in packs.split("+")], None
        for place, size in enumerate(sizes, start=1):
            turns = options.turns * place // len(sizes)
            pack = train_in_pack(config, size, options.device, turns, state)
            state = pack.copy_state(MINE)
        for weights in ("average", "last"):
            found = measure(pack, weights, options.loss_dialogues, options.reply_dialogues)
            line = {"pack": packs, "where": options.label, "weights": weights, **found}
            with options.out.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(f"pack {packs}, {weights}: {found}", flush=True)
            rows.append(line)
        del pack
    return Outcome(facts={"out": options.out, "rows": rows})


def build_parser() -> Parser:
    parser = Parser("tune.bench.same_trial", __doc__, name="bench.same_trial")
    add_trial_flags(parser)
    parser.add_argument(
        "--packs",
        nargs="+",
        default=["1", "2", "4", "8", "2+4"],
        help="trials a pack; 2+4: the second half in another pack, of 4",
    )
    parser.add_argument("--turns", type=int, default=1600, help="system turns a trial trains on")
    parser.add_argument("--label", default="", help="where this runs, for the records")
    add_scoring(parser, 50, 50, "same_trial.jsonl")
    return parser


main = make_main(build_parser, compare_packs)

if __name__ == "__main__":
    start_command(main)
