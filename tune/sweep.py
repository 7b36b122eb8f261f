"""A sweep from its first line to its leaderboard: new, or resumed from its folder."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.records import SweepRecords, read_sweep
from search_spaces.space import Space
from trainable.trial import ConfigError
from tune.checks import check_space
from tune.config import SweepConfig
from tune.lock import own_folder
from tune.rebuild import rebuild
from tune.recorder import Recorder, replay_events, write_header
from tune.search import ENDED, Search
from tune.versions import read_commit, read_versions

EXIT_INTERRUPTED = 130


def start_sweep(config: SweepConfig, space: Space) -> int:
    """Runs a new sweep in `config.folder`; the command's exit code."""
    with own_folder(config.folder):
        return run(config, space, None)


def resume_sweep(config: SweepConfig, space: Space) -> int:
    """Goes on with the sweep in `config.folder`; the command's exit code."""
    with own_folder(config.folder):
        return run(config, space, read_sweep(config.folder))


def run(config: SweepConfig, space: Space, records: SweepRecords | None) -> int:
    header = compose_header(config, space, records)
    if records is None or has_changed(header, records):
        write_header(config.folder, header)
    recorder = Recorder(config.folder)
    search = Search(config, space, recorder)
    try:
        if records is not None:
            rebuild(search, records)
        if not has_work(search):
            print(f"{config.name} is finished: there is nothing to do (more with --trials N)")
        else:
            if records is not None:
                print(note_resumption(search))
            drive(search, header, records)
            search.finish()
    except KeyboardInterrupt:
        print(f"\ninterrupted: go on with --resume {config.name}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except OSError as error:
        where = f"the sweep's folder cannot be written ({error.strerror or error})"
        print(f"{where}: paused; go on with --resume {config.name}", file=sys.stderr)
        return 1
    finally:
        recorder.close()
    return conclude(search)


def has_changed(header: Mapping[str, Any], records: SweepRecords) -> bool:
    recorded = {"config": records.config, "space": records.space}
    return any(json.dumps(header[key]) != json.dumps(recorded[key]) for key in recorded)


def note_resumption(search: Search) -> str:
    states = [t.state for t in search.searched]
    counts = {state: states.count(state) for state in (*ENDED, "QUEUED", "WAITING")}
    text = ", ".join(f"{n} {state.lower()}" for state, n in counts.items() if n)
    search.recorder.record_note(f"resumed with {text or 'no trials'}")
    return f"resumed with {text or 'no trials'}"


def has_work(search: Search) -> bool:
    is_open = any(t.state not in ENDED for t in search.trials.values())
    return is_open or len(search.searched) < search.config.trials


def drive(search: Search, header: Mapping[str, Any], records: SweepRecords | None) -> None:
    """Everything that needs Ray."""
    from rich.console import Console

    from tune.bridge import FaultCallback, LeaseSearcher, ReportScheduler
    from tune.fleet import run_leases, staff, start_ray
    from tune.mirror import Mirror
    from tune.progress import Progress
    from tune.report_to import Reporter

    config, folder = search.config, search.config.folder
    console = Console(file=sys.stdout)
    with start_ray(folder / "logs" / "ray.log") as fleet:
        workers = staff(fleet, config, check_space(search.space, config.base))
        search.room, search.pool = workers.room, workers.pool
        mirror = Mirror(folder, config.name, search.space)
        progress = Progress(header, slots=search.room, console=console)
        reporters = [Reporter(name, config.name, folder) for name in config.report_to]
        for event in replay_events(records) if records else ():
            mirror.on_event(event)
            for reporter in reporters:
                reporter.on_event(event)
            progress.ledger.add(event)
        search.recorder.listeners += [mirror, Standings(folder), progress, *reporters]
        search.recorder.record_note(workers.describe())
        scheduler = ReportScheduler(search, workers.release)
        faults = FaultCallback(search, workers.release, fleet.check)
        adapters = (LeaseSearcher(search), scheduler, faults)
        with progress, contextlib.closing(workers):
            run_leases(adapters, workers.share, search.room)
        for reporter in reporters:
            if reporter.failure:
                search.recorder.record_note(reporter.failure)


class Standings:
    """Keeps the leaderboard's files current while the sweep runs, now and then."""

    every_s = 20.0

    def __init__(self, folder: Path) -> None:
        self.folder, self.written_s = folder, time.monotonic()

    def on_event(self, event: Mapping[str, Any]) -> None:
        from analysis.leaderboard import write_leaderboard

        if event["event"] == "end" and time.monotonic() - self.written_s > self.every_s:
            write_leaderboard(self.folder)
            self.written_s = time.monotonic()


def conclude(search: Search) -> int:
    """Writes and prints the leaderboard; 1 if every trial failed, else 0."""
    from analysis.leaderboard import render, write_leaderboard

    folder = search.config.folder
    write_leaderboard(folder)
    print(render(folder))
    print(f"the sweep is in {folder}")
    failed = [t for t in search.searched if t.state == "FAIL"]
    if failed and len(failed) == len(search.searched):
        print(f"all {len(failed)} trials failed; the first: {failed[0].reason}", file=sys.stderr)
        return 1
    return 0


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


def lengthen(config: SweepConfig, space: Space, records: SweepRecords, turns: int) -> SweepConfig:
    """The sweep with a longer training: the old end becomes a rung."""
    if turns < config.train_turns:
        raise ConfigError(
            f"--train-turns of a resumed sweep may only grow from {config.train_turns}, not to "
            f"{turns}: start a new sweep (--name)"
        )
    schedules = {t.config.get("schedule", "constant") for t in records.searched}
    if "train_turns" in space.searched or schedules - {"constant"}:
        raise ConfigError(
            "--train-turns can extend only trials with a constant schedule and one common length: "
            "start a new sweep (--name)"
        )
    return replace(
        config,
        train_turns=turns,
        rungs_turns=(*config.rungs_turns, config.train_turns),
        eval_dialogues=(*config.eval_dialogues, config.eval_dialogues[-1]),
        base={**config.base, "train_turns": turns},
    )
