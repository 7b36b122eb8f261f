"""A sweep from its first line to its leaderboard: new, or resumed from its folder."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.records import SweepRecords, read_sweep
from search_spaces.space import Space
from trainable.storage.remote import find_remote
from trainable.system.retries import StorageFault, retry_io
from trainable.system.versions import PACKAGES, read_versions
from trainable.system.whole import write_whole
from trainable.trial import ConfigError
from tune.driver.conclusion import EXIT_FAILED, conclude, has_work
from tune.driver.ray_run import run_on_ray
from tune.driver.request_handler import Paused, RequestHandler
from tune.driver.signals import Interrupted, pause_on_signals, say
from tune.folder.lock import own_folder
from tune.folder.recorder import Listener, Recorder, replay_events, write_header
from tune.folder.resume_command import spell_resume
from tune.folder.versions import read_commit
from tune.plan.sweep_file import NAME as SWEEP_FILE
from tune.plan.sweep_file import spell_sweep
from tune.search.budget import Budget
from tune.search.config import SweepConfig
from tune.search.rebuild import is_space_of, rebuild
from tune.search.search import Search
from tune.search.trials import ENDED

if TYPE_CHECKING:
    from tune.plan.new import Plan


def run_sweep(plan: Plan, listeners: Iterable[Listener] = ()) -> int:
    """Runs a new sweep, or goes on with the one in its folder; the command's exit code. `listeners`
    are told of every event that is recorded."""
    folder = plan.config.folder
    with own_folder(folder):
        try:
            records = read_sweep(folder) if plan.is_resumed else None
            return run_to_exit_code(plan, records, listeners)
        except ConfigError:
            if not plan.is_resumed:
                discard(folder)
            raise


def discard(folder: Path) -> None:
    """Removes a new sweep's folder in which nothing has happened: the same command may be given
    again once what was wrong is mended."""
    if not read_sweep(folder).trials:
        if (remote := find_remote(folder)) is not None:
            remote.remove()
        shutil.rmtree(folder)


def run_to_exit_code(
    plan: Plan, records: SweepRecords | None, listeners: Iterable[Listener]
) -> int:
    """The command's exit code; however it ends, one line says how to go on."""
    config = plan.config
    where = f"{config.folder} cannot be written"
    try:
        header = write_headers(config, plan.space, records)  # until then there is nothing to resume
    except StorageFault as fault:
        print(f"{where} ({fault.strerror}): the same command begins again", file=sys.stderr)
        return EXIT_FAILED
    hint = f"go on with {spell_resume(config.folder, config.objective)}"
    try:
        with pause_on_signals(hint):
            return run_search(plan, records, header, listeners)
    except Interrupted as interrupted:
        say(interrupted, hint)
        return interrupted.code
    except Paused as pause:
        print(f"{pause}: {hint}", file=sys.stderr if pause.code else sys.stdout)
        return pause.code
    except StorageFault as fault:
        print(f"{where} ({fault.strerror}): paused; {hint}", file=sys.stderr)
        return EXIT_FAILED


def write_headers(
    config: SweepConfig, space: Space, records: SweepRecords | None
) -> dict[str, Any]:
    """What sweep.json says from now on, which is written last: it makes the folder a sweep's.
    Raises StorageFault."""
    header = compose_header(config, space, records)
    if records is None or has_changed(header, records):
        text = spell_sweep(config, space)
        retry_io(lambda: write_whole(config.folder / SWEEP_FILE, text.encode()), print)
        retry_io(lambda: write_header(config.folder, header), print)
    return header


def run_search(
    plan: Plan,
    records: SweepRecords | None,
    header: Mapping[str, Any],
    listeners: Iterable[Listener],
) -> int:
    """Raises StorageFault, Paused."""
    config, space = plan.config, plan.space
    recorder = Recorder(config.folder, listeners, say=print)
    recorder.publish(["sweep.json", SWEEP_FILE])
    if records is not None and records.exhausted_at is not None and not is_space_of(records, space):
        recorder.record_note("the space is another: there may be points left", exhausted_at=None)
    search = Search(config, space, recorder, plan.objective)
    budget = Budget(search)
    if records is not None:
        rebuild(search, records)
        budget.replay(replay_events(records))
    handler = RequestHandler(search, budget)
    handler.open()
    if not has_work(search):
        more = "a wider --space" if search.is_exhausted else "--trials N"
        print(f"{config.name} is finished: there is nothing to do (more with {more})")
    elif search.closing is None:
        if records is not None:
            print(note_resumption(search, header, records))
        run_on_ray(search, header, handler)
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
    names = [n for n in ("commit", "python", *PACKAGES) if before.get(n) != now.get(n)]
    changes = [f"{n} {before.get(n) or 'none'} -> {now.get(n) or 'none'}" for n in names]
    changes += ["results may differ in their last digits from now on"] if changes else []
    line = f"resumed with {'; '.join([text or 'no trials', *changes])}"
    search.recorder.record_note(line, exhausted_at=exhausted_at)
    return line


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
