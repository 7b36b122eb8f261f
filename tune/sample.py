"""Makes a training corpus of a model's own replies:
python -m tune.sample --adapter FOLDER --out NEW

The model replies to each training turn several times (by sampling). Of the replies that have
exactly the placeholders of the corpus's reply, the one most like it (ROUGE-L) takes its place;
where there is none, the corpus's reply stays. Validation and test dialogues are copied as they are.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.command.flags import add_trust
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.trial import CONDITIONS, ConfigError, Setting
from tune.generate import open_system
from tune.plan.system_flags import add_generation, add_system

if TYPE_CHECKING:
    from trainable.corpus.corpus import Corpus
    from tune.generate import System

DRAWN = ("decoding=sampling", "temperature=0.7")
# what an adapter's own decoding may have besides, and sampling has not; samples are compared with
# the corpus's reply, and so stand behind its earlier ones
OTHERS = (
    "earlier_replies=corpus",
    *(
        f"{name}=null"
        for decider, values, names in CONDITIONS
        if decider == "decoding" and "sampling" not in values
        for name in names
    ),
)


def build_parser() -> Parser:
    parser = Parser("tune.sample", __doc__)
    add_system(parser.add_mutually_exclusive_group(required=True))
    parser.add_argument(
        "--corpus",
        help="a corpus in MultiWOZ's layout (default: the one the adapter was trained on)",
    )
    parser.add_argument(
        "--samples", type=int, default=8, metavar="K", help="replies drawn for each turn"
    )
    add_generation(parser, f"beside {' '.join(DRAWN)}")
    add_trust(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="write the corpus here"
    )
    parser.set_defaults(cross_check=False)
    return parser


def run(flags: argparse.Namespace) -> Outcome:
    from trainable.corpus.rewrite import find_source, rewrite
    from trainable.evaluation.sampled import choose_replies

    flags.set = [*OTHERS, *DRAWN, *flags.set]
    if flags.samples < 1:
        raise ConfigError(f"--samples must be at least 1, not {flags.samples}")
    if flags.out.exists():
        raise ConfigError(f"--out must be a new folder, and {flags.out} is there: choose another")
    system, corpus = open_system(flags)
    check_system(system)
    source = find_source(corpus.name)
    n_dialogues = flags.dialogues or len(corpus.get_split("train"))
    samples = draw(system, n_dialogues, flags)
    chosen = choose_replies(corpus.get_split("train"), samples)
    told = {"samples": flags.samples, "adapter_sha256": system.adapter_sha256}
    told |= {"config": system.config.to_dict(), **count(corpus, chosen, n_dialogues)}
    rewrite(source, chosen, told, flags.out)
    print(
        f"{told['replaced']:,} of {told['turns']:,} replies to {n_dialogues:,} training dialogues "
        f"are the model's own: {flags.out}"
    )
    return Outcome(facts={"out": flags.out, **told})


def check_system(system: System) -> None:
    config = system.config
    if config.decoding != "sampling":
        raise ConfigError(
            f"decoding={config.decoding} gives one reply whatever the draw: give ",
            Setting("decoding", "sampling"),
        )
    if config.response != "delexicalised":
        raise ConfigError(
            f"response={config.response} has no placeholders to choose by: sample an adapter that "
            "was trained with response=delexicalised"
        )


def draw(system: System, n_dialogues: int, flags: argparse.Namespace) -> list[dict[str, Any]]:
    """So many replies to each training turn, each by draws of its own seed."""
    from tune.generate import generate

    samples = []
    for number in range(flags.samples):
        seeded = replace(system, config=replace(system.config, seed=system.config.seed + number))
        samples.append(generate(seeded, "train", n_dialogues, flags.device, keeps=True))
        print(f"sample {number + 1} of {flags.samples}", file=sys.stderr)
    return samples


def count(corpus: Corpus, chosen: dict[tuple[str, int], str], n_dialogues: int) -> dict[str, int]:
    from trainable.corpus.subset import validation_subset

    asked = validation_subset(corpus.get_split("train"), n_dialogues)
    turns = sum(len(dialogue.turns) for dialogue in asked)
    return {"dialogues": n_dialogues, "turns": turns, "replaced": len(chosen)}


main = make_main(build_parser, run)

if __name__ == "__main__":
    start_command(main)
