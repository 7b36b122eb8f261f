"""Lets a model write both sides of dialogues, and scores richness and perplexity:
python -m tune.free

A tuned model is given as `--set method=none --set adapter=FOLDER`.
"""

import argparse

from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.trial import ConfigError
from tune.plan.single import add_trial_flags, open_pack, spell_trial


def run(flags: argparse.Namespace) -> Outcome:
    from analysis.labels import to_markdown
    from trainable.engine.decode.free import write_dialogues
    from trainable.evaluation.richness import measure_richness
    from tune.terminal.quiet import quieten

    quieten()
    for flag in ("turns", "dialogues"):
        if getattr(flags, flag) < 1:
            raise ConfigError(f"--{flag} must be at least 1, not {getattr(flags, flag)}")
    config = spell_trial(flags.profile, flags.set)
    pack = open_pack(config, 1, flags.device)
    made = write_dialogues(pack, pack.slots["0"], flags.dialogues, flags.turns)
    for number, dialogue in enumerate(made.dialogues[: flags.show], start=1):
        print(f"### {number}\n" + "\n".join(f"user> {text}" for text in dialogue) + "\n")
    richness = measure_richness(made.replies)
    columns = ["LLM model", "dialogues", "replies", "perplexity", *richness]
    cells = [config.base_model, str(len(made.dialogues)), str(len(made.replies))]
    cells += [f"{made.perplexity:.2f}", *(f"{value:.2f}" for value in richness.values())]
    print(to_markdown([columns, cells]))
    facts = {"base_model": config.base_model, "dialogues": made.dialogues}
    return Outcome(facts={**facts, "perplexity": made.perplexity, "richness": richness})


def build_parser() -> Parser:
    parser = Parser("tune.free", __doc__)
    add_trial_flags(parser)
    parser.add_argument("--dialogues", type=int, default=16, help="dialogues to write")
    parser.add_argument("--turns", type=int, default=6, help="turns of a dialogue, at most")
    parser.add_argument("--show", type=int, default=2, help="dialogues to print")
    return parser


main = make_main(build_parser, run)

if __name__ == "__main__":
    start_command(main)
