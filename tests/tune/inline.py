"""A sweep without Ray: leases carried out one after another, in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.records import SweepRecords, read_sweep
from search_spaces.find import find_space
from search_spaces.space import Space
from trainable.evaluation.objective import COMBINED, Objective
from trainable.solo.toy import ToyFinetuner
from trainable.storage.checkpoint import find_last_whole, read_evaluation, write_checkpoint
from trainable.trial import TrialFailed
from trainable.worker.lease import Lease, Report
from trainable.worker.objective import apply_objective
from tune.driver.header import compose_header, write_header
from tune.folder.recorder import Recorder
from tune.search.config import SweepConfig
from tune.search.profiles import compose
from tune.search.rebuild import rebuild
from tune.search.search import Search

Settings = dict[str, Any]
RACE: Settings = {"asha": "stop", "eta": 3, "rungs_turns": (400, 800)}


class Killed(BaseException):
    """Stands for a SIGKILL: nobody catches it."""


def make_config(storage: Path, **settings: Any) -> tuple[SweepConfig, Space]:
    space = find_space("lora_modules").fix({"base_model": "toy", **settings.pop("fixed", {})})
    flags = {"name": "s", "space": "lora_modules", "storage": str(storage), "trials": 12}
    return compose("tiny", {**flags, **settings.pop("race", RACE), **settings}), space


def carry_out(lease: Lease) -> Iterator[Report]:
    """What `trainable.worker.entry` does, without Ray."""
    checkpoint, notes = find_last_whole(lease.checkpoints, to_train=True)
    start = None if checkpoint is None else checkpoint.path
    finetuner, seen = ToyFinetuner(lease.config, start=start), lease.reported_turns
    if checkpoint is not None:
        seen = max(seen, checkpoint.turns_seen)
        if seen > lease.reported_turns:
            yield Report(
                trial=lease.trial,
                evaluation=read_evaluation(checkpoint.path),
                curve=finetuner.curve,
                notes=notes,
            )
    for milestone in lease.milestones:
        if milestone.turns <= seen:
            continue
        try:
            finetuner.train_until(milestone.turns)
        except TrialFailed as error:
            yield Report(trial=lease.trial, failure=str(error), curve=finetuner.curve)
            return
        seen = finetuner.turns_seen
        asked = lease.find_reached(seen).asked
        evaluation = finetuner.evaluate(asked)
        try:
            evaluation = apply_objective(
                lease.objective, evaluation, lease.config, asked.n_dialogues
            )
        except TrialFailed as error:
            yield Report(trial=lease.trial, failure=str(error))
            return
        write_checkpoint(lease.checkpoints, finetuner, evaluation)
        yield Report(
            trial=lease.trial,
            evaluation=evaluation,
            curve=finetuner.curve,
            resolved=finetuner.resolved,
            notes=notes,
            worked_s=1.0,
        )
        notes = ()


def open_search(
    config: SweepConfig,
    space: Space,
    listeners: tuple[Any, ...] = (),
    objective: Objective = COMBINED,
) -> tuple[Search, SweepRecords | None]:
    """A new search, or one rebuilt from the folder."""
    records = read_sweep(config.folder) if (config.folder / "sweep.json").exists() else None
    config.folder.mkdir(parents=True, exist_ok=True)
    write_header(config.folder, compose_header(config, space, records))
    search = Search(config, space, Recorder(config.folder, listeners), objective)
    if records is not None:
        rebuild(search, records)
    return search, records


def run_inline(search: Search) -> Search:
    """To the end, `search.room` trials interleaved round robin."""
    workers: list[Iterator[Report]] = []
    while True:
        while (lease := search.lease()) is not None:
            workers.append(carry_out(lease))
        if not workers:
            break
        worker = workers.pop(0)
        if search.report(next(worker)):
            workers.append(worker)
    search.finish()
    return search
