"""Scores the untuned model as a sweep scores its trials: python -m tune.baseline

Alone it makes a sweep's folder of one trial; with --sweep it adds the untuned model to a sweep that
was started without it. --compare A B puts two recorded trials side by side.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.command.flags import add_storage
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.result import ValidationRequest
from trainable.storage.remote import fetch_headers
from trainable.system.environment import set_environment
from trainable.trial import ConfigError, TrialFailed
from tune.plan.single import add_trial_flags

if TYPE_CHECKING:
    from search_spaces.space import Space
    from trainable.evaluation.objective import Objective
    from trainable.trial import TrialConfig
    from tune.search.config import SweepConfig

QUESTION = "What does the model answer without any finetuning?"


def act(flags: argparse.Namespace) -> Outcome:
    if flags.compare:
        return show_comparison(flags)
    if flags.dialogues is not None and flags.dialogues < 1:
        raise ConfigError(f"--dialogues must be at least 1, not {flags.dialogues}")
    fetch_headers(Path(flags.storage))
    return add_to_sweep(flags) if flags.sweep else start(flags)


def show_comparison(flags: argparse.Namespace) -> Outcome:
    from analysis.comparison import compare, find_side

    one, other = (find_side(name) for name in flags.compare)
    text = compare(one, other, examples=flags.examples)
    print(text)
    return Outcome(facts={"sides": flags.compare, "text": text})


def start(flags: argparse.Namespace) -> Outcome:
    """The untuned model in a folder of its own."""
    from search_spaces.space import Space
    from tune.driver.header import compose_header, write_header
    from tune.plan.checks import make_folder
    from tune.plan.flags import parse_settings, pick_name
    from tune.plan.task import choose_objective, spell
    from tune.search.profiles import compose, pick_profile

    space = Space(name="baseline", question=QUESTION, searched={}).fix(parse_settings(flags.set))
    profile, why = pick_profile(flags.profile)
    name = flags.name or pick_name(Path(flags.storage), space.name)
    given = {"name": name, "space": space.name, "storage": flags.storage, "trials": 1}
    config = compose(profile, given)
    trial = spell_untuned(space, config)
    objective = choose_objective(flags.objective, None, [trial])
    config = replace(config, **spell(objective, flags.objective))
    print(f"{config.name}: the untuned {trial.base_model} on {trial.corpus}, {profile} ({why})")
    make_folder(config.folder)
    header = compose_header(config, space, None)
    write_header(config.folder, {**header, "config": {**header["config"], "trials": 0}})
    return run(config, trial, objective, flags)


def add_to_sweep(flags: argparse.Namespace) -> Outcome:
    """The untuned model in the leaderboard of an existing sweep."""
    from analysis.leaderboard import render
    from analysis.records import find_sweep, read_sweep
    from tune.plan.task import trust_again
    from tune.search.rebuild import read_settings

    if flags.set or flags.name:
        raise ConfigError("--set and --name have no meaning with --sweep: it has its own settings")
    records = read_sweep(find_sweep(flags.sweep, flags.storage))
    if any(t.is_base and t.evals for t in records.trials):
        print(render(records))
        print(f"{records.name} has its baseline already")
        return Outcome(facts=summarise(records.folder))
    config, space = read_settings(records)
    set_environment(config.deterministic, flags.trust_remote_code)
    objective = trust_again(config, flags.objective, None)
    return run(config, spell_untuned(space, config), objective, flags)


def spell_untuned(space: Space, config: SweepConfig) -> TrialConfig:
    from tune.plan.checks import check_materials
    from tune.plan.task import check_task
    from tune.search.trials import drop_training

    point = space.first[0] if space.first else {}
    trial = drop_training(space.to_config(point, config.base))
    check_materials([trial])
    check_task([trial])
    return trial


def run(
    config: SweepConfig, trial: TrialConfig, objective: Objective, flags: argparse.Namespace
) -> Outcome:
    """Evaluates and records the untuned model, and prints the leaderboard."""
    from analysis.leaderboard import render, write_leaderboard
    from analysis.records import BASE_ID, BASE_NUMBER
    from trainable.solo.choose import open_finetuner
    from trainable.worker.lease import Report
    from trainable.worker.objective import apply_objective
    from tune.folder.lock import own_folder
    from tune.folder.recorder import Recorder
    from tune.terminal.bars import show_activities
    from tune.terminal.quiet import quieten

    quieten()
    n_dialogues = flags.dialogues or config.eval_dialogues[-1]
    with own_folder(config.folder):
        recorder = Recorder(config.folder)
        finetuner: Any = None
        try:
            started_s = time.monotonic()
            recorder.record_trial(BASE_ID, BASE_NUMBER, {}, trial)
            finetuner = open_finetuner(trial, flags.device)
            recorder.record_resolved(BASE_ID, finetuner.resolved)
            with show_activities():
                evaluation = finetuner.evaluate(ValidationRequest(n_dialogues))
            evaluation = apply_objective(objective, evaluation, trial, n_dialogues)
            seconds = time.monotonic() - started_s
            report = Report(trial=BASE_ID, evaluation=evaluation, worked_s=seconds)
            recorder.record_eval(report)
            recorder.record_end(BASE_ID, "COMPLETE", None)
        except TrialFailed as error:
            recorder.record_end(BASE_ID, "FAIL", str(error))
            print(f"the baseline failed: {error}", file=sys.stderr)
            return Outcome(facts={"failed": str(error)}, code=1)
        finally:
            if finetuner is not None:
                finetuner.close()
        write_leaderboard(config.folder)
        recorder.publish_all()
    print(render(config.folder))
    print(f"the baseline is in {config.folder}")
    return Outcome(facts=summarise(config.folder))


def summarise(folder: Path) -> dict[str, Any]:
    from analysis.records import read_sweep

    base = next(t for t in read_sweep(folder).trials if t.is_base)
    return {"folder": folder, "evaluation": asdict(base.evals[-1])}


def build_parser() -> Parser:
    parser = Parser("tune.baseline", __doc__)
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="compare two trials, each SWEEP (its best) or SWEEP:TRIAL",
    )
    parser.add_argument(
        "--examples", type=int, default=3, help="example dialogues that --compare prints"
    )
    parser.add_argument(
        "--sweep", metavar="NAME", help="add the untuned model to this sweep's leaderboard"
    )
    add_trial_flags(parser)
    parser.add_argument(
        "--dialogues",
        type=int,
        help="validation dialogues to score on (default: as at a sweep's end)",
    )
    parser.add_argument(
        "--objective",
        metavar="NAME",
        help="what is measured (docs/corpus.md); with --sweep only where that is a function of "
        "yours: python:FILE:FUNCTION once more",
    )
    parser.add_argument(
        "--name", metavar="NAME", help="folder in --storage (default: baseline, numbered)"
    )
    add_storage(parser)
    return parser


main = make_main(build_parser, act)

if __name__ == "__main__":
    start_command(main)
