"""A search carried out by Ray: its workers, its listeners, and Ray Tune's loop until it is done."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.records import Ledger, SweepRecords, read_sweep
from trainable.system.throttle import Throttle
from trainable.system.versions import read_versions
from trainable.trial import TrialConfig
from tune.driver.request_handler import RequestHandler
from tune.driver.signals import renew
from tune.folder.recorder import replay_events
from tune.folder.resume_command import spell_resume
from tune.plan.checks import check_space
from tune.plan.resumption import describe_move
from tune.search.search import Search
from tune.search.trials import ENDED

if TYPE_CHECKING:
    from rich.console import Console

    from tune.folder.mirror import Mirror
    from tune.folder.report_to import Reporter
    from tune.terminal.live import Display
    from tune.workers.fleet import Fleet, Workers


def run_on_ray(search: Search, header: Mapping[str, Any], handler: RequestHandler) -> None:
    """Everything that needs Ray."""
    from tune.workers.connect import settle_ray

    settle_ray()  # before what follows imports Ray
    from rich.console import Console

    from tune.workers.fleet import start_ray
    from tune.workers.ray_tune import run_ray_tune

    console = Console(file=sys.stdout)
    search.recorder.say = lambda text: console.print(text, highlight=False, markup=False)
    config, say = search.config, search.recorder.say
    go_on = spell_resume(config.folder, config.objective)
    with start_ray(config.folder / "logs" / "ray.log", go_on, say) as fleet:
        renew()
        workers = open_workers(search, fleet, handler)
        records = read_sweep(search.config.folder)
        mirrors = open_mirrors(search, header, records, handler, console)
        search.recorder.record_note(workers.describe(search.room), room=search.room)
        if moved := describe_move(records, fleet.has_gpus, fleet.list_gpu_models()):
            search.recorder.record_note(moved)
        adapters = list_adapters(search, fleet, workers, handler, mirrors)
        with mirrors.display, contextlib.closing(workers):
            try:
                run_ray_tune(adapters, workers.share, fleet.folder)
            except Exception as error:
                fleet.explain(error)
                raise
        mirrors.record_failures(search)


def open_workers(search: Search, fleet: Fleet, handler: RequestHandler) -> Workers:
    """How the trials are carried out, told to the search and to the request handler."""
    from tune.workers.fleet import plan_workers
    from tune.workers.packing import find_misfit

    configs = list_configs(search)
    workers = plan_workers(fleet, search.config, configs, search.recorder.say)
    search.pool, search.versions = workers.pool, read_versions()
    workers.survey(search)
    handler.budget.share = fleet.count_units() / search.room
    handler.refuse = lambda clone: find_misfit(clone, workers.slots, configs)
    return workers


@dataclass(frozen=True, kw_only=True)
class Mirrors:
    """Who shows the sweep elsewhere."""

    display: Display
    study: Mirror  # Optuna's journal
    reporters: list[Reporter]  # trackers

    def record_failures(self, search: Search) -> None:
        for failure in (self.study.failure, *(reporter.failure for reporter in self.reporters)):
            if failure:
                search.recorder.record_note(failure)


def open_mirrors(
    search: Search,
    header: Mapping[str, Any],
    records: SweepRecords,
    handler: RequestHandler,
    console: Console,
) -> Mirrors:
    """They and the budget are told what has happened, and hear every event from now on."""
    from tune.folder.mirror import Mirror
    from tune.folder.report_to import Reporter
    from tune.terminal.live import Display
    from tune.terminal.progress import SweepProgress

    config, folder = search.config, search.config.folder
    past = list(replay_events(records))
    # thousands of trials are kept once; what was recorded since the resume is among them
    ledger = handler.budget.ledger = Ledger()
    now_s = search.recorder.now_s
    progress = SweepProgress(header, slots=search.room, now_s=now_s, ledger=ledger)
    mirrors = Mirrors(
        display=Display(progress, console),
        study=Mirror(folder, config.name, search.space, config.direction, past),
        reporters=[Reporter(name, config.name, folder) for name in config.report_to],
    )
    for event in past:
        for reporter in mirrors.reporters:
            reporter.on_event(event)
        ledger.add(event)
    search.recorder.listeners += [handler.budget, mirrors.study, LeaderboardWriter(folder)]
    search.recorder.listeners += [mirrors.display, *mirrors.reporters]
    return mirrors


def list_adapters(
    search: Search, fleet: Fleet, workers: Workers, handler: RequestHandler, mirrors: Mirrors
) -> tuple[Any, ...]:
    """Ray Tune's searcher, scheduler and callbacks."""
    from tune.workers.bridge import (
        ControlCallback,
        CurvesCallback,
        FaultCallback,
        LeaseSearcher,
        ReportScheduler,
        SignsCallback,
    )
    from tune.workers.heartbeats import HeartbeatReader

    return (
        LeaseSearcher(search, workers.survey),
        ReportScheduler(search, workers.release),
        FaultCallback(search, workers.release, fleet.check),
        ControlCallback(search, handler.look, workers.release),
        SignsCallback(HeartbeatReader(), mirrors.display),
        CurvesCallback(search, mirrors.reporters),
    )


def list_configs(search: Search) -> list[TrialConfig]:
    """All kinds of trials that are to come: the space's corners, and clones."""
    clones = [t.config for t in search.searched if t.origin and t.state not in ENDED]
    return [*check_space(search.space, search.config.base), *clones]


class LeaderboardWriter:
    """Keeps the leaderboard's files current while the sweep runs: now and then, and never for
    more than a hundredth of the time."""

    every_s = 20.0

    def __init__(self, folder: Path) -> None:
        self.folder, self.throttle = folder, Throttle(self.every_s, at_once=False)

    def on_event(self, event: Mapping[str, Any]) -> None:
        from analysis.leaderboard import write_leaderboard

        if event["event"] == "end" and self.throttle.is_due():
            with self.throttle:
                write_leaderboard(self.folder)
