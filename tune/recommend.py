"""Recommends a configuration from earlier sweeps, without a search, and says what one would add:
python -m tune.recommend HuggingFaceTB/SmolLM2-135M --dialogues 2000 --minutes 30
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from trainable.command.flags import add_set, add_storage
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser, spell_command
from trainable.trial import ConfigError, TrialConfig

if TYPE_CHECKING:
    from search_spaces.space import Space
    from tune.plan.evidence import RecordedPoint
    from tune.plan.recommendation import LeftOutSweep

PASSES = 2  # over the dialogues: as many turns as the best of analysis/results/smollm2/long had


def advise(flags: argparse.Namespace) -> Outcome:
    from tune.plan.recommendation import RATE, find_doubt, leave_one_out, recommend

    for name in ("dialogues", "minutes"):
        if getattr(flags, name) <= 0:
            raise ConfigError(f"--{name} must be above 0, not {getattr(flags, name)}")
    space, base, params = open_model(flags)
    seen = list_evidence(flags)
    point = recommend(space, base, params, seen)
    trial = space.to_config(point, base)
    trials, trial_s, why = count_trials(trial, flags)
    held = leave_one_out(seen)
    facts = {"point": point, "train_turns": trial.train_turns, "config": trial.to_dict()}
    facts |= {"held_out": [asdict(h) for h in held], "trials": trials, "trial_s": trial_s}
    facts |= expect_regret(held, trials)
    facts["doubt"] = find_doubt({**base, **trial.to_dict()}, params, seen) if RATE in point else ""
    print(f"{flags.model}, {params / 1e6:,.1f}M parameters, without a search:")
    for name, value in {**point, "train_turns": trial.train_turns}.items():
        print(f"  {name:18} {value}")
    for line in describe(facts, flags.minutes, why):
        print(line)
    if facts["doubt"]:
        print(
            f"The best rate may lie elsewhere: {facts['doubt']}. Try half and twice this one, too."
        )
    print(spell_run(space, point, trial, flags))
    return Outcome(facts=facts)


def open_model(flags: argparse.Namespace) -> tuple[Space, dict[str, Any], float]:
    """The space on that model, the profile's fields, and the model's parameters."""
    from search_spaces.find import find_space
    from trainable.model.sizes import read_sizes
    from tune.plan.flags import parse_settings
    from tune.plan.pace import measure_validation
    from tune.search.profiles import BASES, pick_profile

    space = find_space(flags.space).fix({"base_model": flags.model, **parse_settings(flags.set)})
    base = {**BASES[pick_profile(flags.profile)[0]], "warmup_turns": 0}
    corpus = str(space.fixed.get("corpus", base["corpus"]))
    base["train_turns"] = round(PASSES * flags.dialogues * measure_validation(corpus)[1])
    return space, base, float(read_sizes(flags.model).total_params)


def list_evidence(flags: argparse.Namespace) -> list[RecordedPoint]:
    """Of the sweeps that --from names, else what ships with the package. Raises ConfigError."""
    from analysis.records import find_sweep, read_sweep
    from tune.plan.evidence import LEAST, list_recorded, read_packaged
    from tune.plan.recommendation import count_params

    if not flags.sources:
        return list(read_packaged())
    seen = []
    for name in flags.sources:
        records = read_sweep(find_sweep(name, flags.storage))
        resolved = next((t.resolved for t in records.searched if t.resolved), None)
        model = str(records.searched[0].config["base_model"]) if records.searched else ""
        params = float(resolved.total_params) if resolved else count_params(model)
        own = list_recorded(records, records.name, params)
        if not own:
            raise ConfigError(
                f"--from needs sweeps of LoRA with at least {LEAST} settings trained to the end "
                f"and scored by replies, and {records.name} has fewer: leave it out"
            )
        seen += own
    return seen


def count_trials(trial: TrialConfig, flags: argparse.Namespace) -> tuple[int, float, str]:
    """Trials of a search that are trained to their end in so many minutes, one after another on
    one device; the seconds of each; how that is known."""
    from tune.plan.pace import find_pace
    from tune.search.profiles import SCALES, count_gpus

    unit = "GPU" if count_gpus() else "core"
    pace = find_pace(trial, unit, Path(flags.storage))
    validated = SCALES["lab" if unit == "GPU" else "tiny"]["eval_dialogues"][-1]
    trial_s = trial.train_turns * pace.turn_s + validated * pace.dialogue_s
    return int(60 * flags.minutes / max(trial_s, 1e-9)), trial_s, pace.why


def expect_regret(held: Sequence[LeftOutSweep], trials: int) -> dict[str, float | None]:
    """In points of Combined, over the sweeps left out one after another; None: of one alone."""
    if not held:
        return {"expected_regret": None, "random_regret": None, "expected_gain": None}
    return {
        "expected_regret": fmean(h.picked for h in held),
        "random_regret": fmean(h.random for h in held),
        "expected_gain": fmean(h.gain(trials) for h in held) if trials else 0.0,
    }


def describe(facts: dict[str, Any], minutes: float, why: str) -> list[str]:
    held, regret = facts["held_out"], facts["expected_regret"]
    if regret is None:
        return ["The expected regret takes at least two sweeps: name several with --from."]
    least, most = min(h["picked"] for h in held), max(h["picked"] for h in held)
    return [
        f"Expected to end {regret:.1f} points of Combined below the best setting of a sweep "
        f"({least:.1f} to {most:.1f} in {len(held)} sweeps, each judged by the rule that the "
        f"others make); a random setting ends {facts['random_regret']:.1f} below.",
        f"A search of {minutes:g} minutes on one device trains about {facts['trials']} random "
        f"settings to their end ({facts['trial_s']:.0f} s each: {why}), and is expected to gain "
        f"{facts['expected_gain']:.1f} points over it.",
    ]


def spell_run(
    space: Space, point: dict[str, Any], trial: TrialConfig, flags: argparse.Namespace
) -> str:
    """The command that trains just this."""
    fixed = {**space.fixed, **point}
    words = ["--space", flags.space, "--trials", "1", "--asha", "off"]
    words += ["--train-turns", str(trial.train_turns)]
    words += [word for name, value in fixed.items() for word in ("--set", f"{name}={value}")]
    return f"{spell_command('tune.run')} {shlex.join(words)}"


def build_parser() -> Parser:
    parser = Parser("tune.recommend", __doc__)
    parser.add_argument("model", metavar="MODEL", help="the base model: a hub id or a folder")
    parser.add_argument(
        "--dialogues", type=int, required=True, metavar="N", help="training dialogues there are"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=30,
        metavar="M",
        help="length of the search it is compared with",
    )
    parser.add_argument(
        "--from",
        dest="sources",
        nargs="+",
        metavar="NAME",
        help="recommend from these sweeps (default: the recorded ones that ship with this package)",
    )
    parser.add_argument(
        "--space", default="qlora", help="recommend the fields that this space searches"
    )
    parser.add_argument(
        "--profile",
        choices=("auto", "tiny", "lab"),
        default="auto",
        help="defaults of all other fields; auto: lab where there is a GPU, else tiny",
    )
    add_set(parser, "fix a field instead of having it recommended")
    add_storage(parser)
    return parser


main = make_main(build_parser, advise)

if __name__ == "__main__":
    start_command(main)
