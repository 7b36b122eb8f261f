"""A sweep from its first line to its leaderboard: new, or resumed from its folder."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from analysis.records import SweepRecords, read_sweep
from search_spaces.space import Space
from trainable.command.parser import spell_command
from trainable.evaluation.objective import COMBINED, Objective
from trainable.storage.remote import find_remote
from trainable.system.retries import StorageFault, retry_io
from trainable.system.versions import read_versions
from trainable.system.whole import write_whole
from trainable.trial import ConfigError, TrialConfig
from tune.driver.control import Control, Paused
from tune.driver.signals import Interrupted, heed, renew, say
from tune.folder.disk import describe_usage
from tune.folder.lock import own_folder
from tune.folder.recorder import Listener, Recorder, replay_events, write_header
from tune.folder.versions import read_commit
from tune.plan.checks import check_space
from tune.plan.resumption import describe_move
from tune.plan.sweep_file import NAME as SWEEP_FILE
from tune.plan.sweep_file import spell_sweep
from tune.search.budget import Budget
from tune.search.config import SweepConfig
from tune.search.rebuild import is_space_of, rebuild
from tune.search.search import Search
from tune.search.trials import ENDED

EXIT_FAILED = 1


def start_sweep(
    config: SweepConfig,
    space: Space,
    listeners: Iterable[Listener] = (),
    objective: Objective = COMBINED,
) -> int:
    """Runs a new sweep in `config.folder`; the command's exit code. `listeners` are told of every
    event that is recorded; `objective` is the config's, with its source where that is Python."""
    with own_folder(config.folder):
        try:
            return run(config, space, None, listeners, objective)
        except ConfigError:
            discard(config.folder)
            raise


def discard(folder: Path) -> None:
    """Removes a new sweep's folder in which nothing has happened: the same command may be given
    again once what was wrong is mended."""
    if not read_sweep(folder).trials:
        if (remote := find_remote(folder)) is not None:
            remote.remove()
        shutil.rmtree(folder)


def resume_sweep(
    config: SweepConfig,
    space: Space,
    listeners: Iterable[Listener] = (),
    objective: Objective = COMBINED,
) -> int:
    """Goes on with the sweep in `config.folder`; the command's exit code."""
    with own_folder(config.folder):
        return run(config, space, read_sweep(config.folder), listeners, objective)


def run(
    config: SweepConfig,
    space: Space,
    records: SweepRecords | None,
    listeners: Iterable[Listener],
    objective: Objective,
) -> int:
    """The command's exit code; however it ends, one line says how to go on."""
    hint = f"go on with {config.resume_command}"
    try:
        with heed(hint):
            return pursue(config, space, records, listeners, objective)
    except Interrupted as interrupted:
        say(interrupted, hint)
        return interrupted.code
    except Paused as pause:
        print(f"{pause}: {hint}", file=sys.stderr if pause.code else sys.stdout)
        return pause.code
    except StorageFault as fault:
        where = f"{config.folder} cannot be written ({fault.strerror})"
        print(f"{where}: paused; {hint}", file=sys.stderr)
        return EXIT_FAILED


def pursue(
    config: SweepConfig,
    space: Space,
    records: SweepRecords | None,
    listeners: Iterable[Listener],
    objective: Objective,
) -> int:
    """Raises StorageFault, Paused."""
    header = compose_header(config, space, records)
    if records is None or has_changed(header, records):
        retry_io(lambda: write_header(config.folder, header), print)
        text = spell_sweep(config, space)
        retry_io(lambda: write_whole(config.folder / SWEEP_FILE, text.encode()), print)
    recorder = Recorder(config.folder, listeners, say=print)
    recorder.publish(["sweep.json", SWEEP_FILE])
    if records is not None and records.exhausted_at is not None and not is_space_of(records, space):
        recorder.record_note("the space is another: there may be points left", exhausted_at=None)
    search = Search(config, space, recorder, objective)
    budget = Budget(search)
    if records is not None:
        rebuild(search, records)
        budget.replay(replay_events(records))
    control = Control(search, budget)
    control.open()
    if not has_work(search):
        more = "a wider --space" if search.is_exhausted else "--trials N"
        print(f"{config.name} is finished: there is nothing to do (more with {more})")
    elif search.closing is None:
        if records is not None:
            print(note_resumption(search, header, records))
        drive(search, header, control)
        if search.is_done:
            search.finish()
        elif search.closing is None:
            raise Paused("Ray Tune ended while there was work left", EXIT_FAILED)
    return conclude(search)


def has_changed(header: Mapping[str, Any], records: SweepRecords) -> bool:
    recorded = {"config": records.config, "space": records.space}
    return any(json.dumps(header[key]) != json.dumps(recorded[key]) for key in recorded)


def note_resumption(search: Search, header: Mapping[str, Any], records: SweepRecords) -> str:
    """What is resumed, and with what other code than it began."""
    states = [t.state for t in search.searched]
    counts = {state: states.count(state) for state in (*ENDED, "QUEUED", "WAITING")}
    text = ", ".join(f"{n} {state.lower()}" for state, n in counts.items() if n)
    exhausted_at = len(search.proposed) if search.is_exhausted else None
    before = {"commit": records.commit, **records.versions}
    now = {"commit": header["commit"], **header["versions"]}
    changes = [f"{n} {before.get(n)} -> {now[n]}" for n in now if before.get(n) != now[n]]
    changes += ["results may differ in their last digits from now on"] if changes else []
    line = f"resumed with {'; '.join([text or 'no trials', *changes])}"
    search.recorder.record_note(line, exhausted_at=exhausted_at)
    return line


def has_work(search: Search) -> bool:
    is_open = any(t.state not in ENDED for t in search.trials.values())
    is_to_come = len(search.proposed) < search.config.trials and not search.is_exhausted
    return is_open or is_to_come or bool(search.list_unconfirmed())


def drive(search: Search, header: Mapping[str, Any], control: Control) -> None:
    """Everything that needs Ray."""
    from tune.workers.connect import settle_token

    settle_token()  # before what follows imports Ray
    from rich.console import Console

    from tune.folder.mirror import Mirror
    from tune.folder.report_to import Reporter
    from tune.terminal.live import Display
    from tune.terminal.progress import Progress
    from tune.workers.bridge import (
        ControlCallback,
        FaultCallback,
        LeaseSearcher,
        ReportScheduler,
        SignsCallback,
    )
    from tune.workers.fleet import run_leases, staff, start_ray
    from tune.workers.lookout import Lookout
    from tune.workers.packing import find_misfit

    config, folder = search.config, search.config.folder
    console = Console(file=sys.stdout)
    search.recorder.say = lambda text: console.print(text, highlight=False, markup=False)
    log, say = folder / "logs" / "ray.log", search.recorder.say
    with start_ray(log, config.resume_command, say) as fleet:
        renew()
        configs = list_configs(search)
        workers = staff(fleet, config, configs)
        search.pool, search.versions = workers.pool, read_versions()
        workers.survey(search)
        control.budget.share = fleet.count_units() / search.room
        control.refuse = lambda clone: find_misfit(clone, workers.slots, configs)
        mirror = Mirror(folder, config.name, search.space, config.direction)
        display = Display(Progress(header, slots=search.room, now_s=search.recorder.now_s), console)
        reporters = [Reporter(name, config.name, folder) for name in config.report_to]
        records = read_sweep(folder)
        for event in replay_events(records):
            mirror.on_event(event)
            for reporter in reporters:
                reporter.on_event(event)
            display.progress.ledger.add(event)
        search.recorder.listeners += [control.budget, mirror, Standings(folder), display]
        search.recorder.listeners += reporters
        search.recorder.record_note(workers.describe(search.room), room=search.room)
        if moved := describe_move(records, fleet.has_gpus):
            search.recorder.record_note(moved)
        scheduler = ReportScheduler(search, workers.release)
        adapters = (
            LeaseSearcher(search, workers.survey),
            scheduler,
            FaultCallback(search, workers.release, fleet.check),
            ControlCallback(search, control.look, workers.release),
            SignsCallback(Lookout(), display),
        )
        with display, contextlib.closing(workers):
            try:
                run_leases(adapters, workers.share, fleet.folder)
            except Exception as error:
                fleet.explain(error)
                raise
        for failure in (mirror.failure, *(reporter.failure for reporter in reporters)):
            if failure:
                search.recorder.record_note(failure)


def list_configs(search: Search) -> list[TrialConfig]:
    """All kinds of trials that are to come: the space's corners, and clones."""
    clones = [t.config for t in search.searched if t.origin and t.state not in ENDED]
    return [*check_space(search.space, search.config.base), *clones]


class Standings:
    """Keeps the leaderboard's files current while the sweep runs: now and then, and never for
    more than a hundredth of the time."""

    every_s = 20.0

    def __init__(self, folder: Path) -> None:
        self.folder, self.due_s = folder, time.monotonic() + self.every_s

    def on_event(self, event: Mapping[str, Any]) -> None:
        from analysis.leaderboard import write_leaderboard

        started_s = time.monotonic()
        if event["event"] == "end" and started_s >= self.due_s:
            write_leaderboard(self.folder)
            now_s = time.monotonic()
            self.due_s = now_s + max(self.every_s, 99 * (now_s - started_s))


def conclude(search: Search) -> int:
    """Writes and prints the leaderboard; the command's exit code: 1 if every trial failed, or more
    than may."""
    from analysis.leaderboard import render, write_leaderboard

    folder = search.config.folder
    write_leaderboard(folder)
    search.recorder.publish_all()
    print(render(folder))
    print(f"the sweep is in {folder}: {describe_usage(folder)}")
    failed = [t for t in search.searched if t.state == "FAIL"]
    if failed and len(failed) == len(search.searched):
        print(f"all {len(failed)} trials failed; the first: {failed[0].reason}", file=sys.stderr)
        return EXIT_FAILED
    if search.closing is None or not has_work(search):
        print(suggest_next(search.config))
        return 0
    command = f"{search.config.resume_command} {search.closing.remedy}".rstrip()
    line = f"{search.closing.why}: go on with {command}"
    print(line, file=sys.stderr if search.closing.code else sys.stdout)
    return search.closing.code


def suggest_next(config: SweepConfig) -> str:
    """What one does with a sweep that has ended."""
    name = shlex.quote(config.name if config.storage == "runs" else str(config.folder))
    return (
        f"its figures and dialogues as one page: {spell_command('analysis.report')} {name}\n"
        f"its best adapter for others: {spell_command('tune.export')} {name} --out FOLDER"
    )


def compose_header(
    config: SweepConfig, space: Space, records: SweepRecords | None
) -> dict[str, Any]:
    return {
        "name": config.name,
        "space": space.to_dict(),
        "config": config.to_dict(),
        "versions": read_versions(),
        "commit": read_commit(),
        "created_s": records.created_s if records else time.time(),
    }
