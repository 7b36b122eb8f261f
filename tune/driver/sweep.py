"""A sweep from its first line to its leaderboard: new, or resumed from its folder."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.records import SweepRecords, read_sweep
from trainable.storage.remote import find_remote
from trainable.system.retries import StorageFault
from trainable.system.versions import read_versions
from trainable.trial import ConfigError, TrialConfig
from tune.driver.conclusion import EXIT_FAILED, conclude, has_work
from tune.driver.header import note_resumption, write_headers
from tune.driver.mirrors import Mirrors, open_mirrors
from tune.driver.request_handler import Paused, RequestHandler
from tune.driver.signals import Interrupted, pause_on_signals, renew, say
from tune.folder.lock import own_folder
from tune.folder.recorder import Listener, Recorder, replay_events
from tune.folder.resume_command import spell_resume
from tune.plan.checks import check_space
from tune.plan.resumption import describe_move
from tune.plan.sweep_file import NAME as SWEEP_FILE
from tune.search.budget import Budget
from tune.search.rebuild import rebuild
from tune.search.search import Search
from tune.search.trials import ENDED

if TYPE_CHECKING:
    from tune.plan.new import Plan
    from tune.workers.cluster import Cluster, Workers


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
        header = write_headers(plan, records)  # until then there is nothing to resume
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


def run_search(
    plan: Plan,
    records: SweepRecords | None,
    header: Mapping[str, Any],
    listeners: Iterable[Listener],
) -> int:
    """Raises StorageFault, Paused."""
    config = plan.config
    recorder = Recorder(config.folder, listeners, say=print)
    recorder.publish(["sweep.json", SWEEP_FILE])
    search = plan.open_search(recorder)
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


def run_on_ray(search: Search, header: Mapping[str, Any], handler: RequestHandler) -> None:
    """Everything that needs Ray."""
    from tune.workers.connect import settle_ray

    settle_ray()  # before what follows imports Ray
    from rich.console import Console

    from tune.workers.cluster import start_ray
    from tune.workers.ray_tune import run_ray_tune

    console = Console(file=sys.stdout)
    search.recorder.say = lambda text: console.print(text, highlight=False, markup=False)
    folder = search.config.folder
    go_on = spell_resume(folder, search.config.objective)
    with start_ray(folder / "logs" / "ray.log", go_on, search.recorder.say) as cluster:
        renew()
        workers = open_workers(search, cluster, handler)
        records = read_sweep(folder)
        mirrors = open_mirrors(search, header, records, handler, console)
        search.recorder.record_note(workers.describe(search.room), room=search.room)
        if moved := describe_move(records, cluster.has_gpus, cluster.list_gpu_models()):
            search.recorder.record_note(moved)
        del records  # of thousands of trials, which are told by now
        adapters = list_adapters(search, cluster, workers, handler, mirrors)
        with mirrors.display, contextlib.closing(workers):
            try:
                run_ray_tune(adapters, workers.share, cluster.folder)
            except Exception as error:
                cluster.explain(error)
                raise
        mirrors.record_failures(search)


def open_workers(search: Search, cluster: Cluster, handler: RequestHandler) -> Workers:
    """How the trials are carried out, told to the search and to the request handler."""
    from tune.workers.cluster import plan_workers
    from tune.workers.packing import find_misfit

    configs = list_configs(search)
    workers = plan_workers(cluster, search.config, configs, search.recorder.say)
    search.pool, search.versions = workers.pool, read_versions()
    workers.survey(search)
    handler.budget.share = cluster.count_units() / search.room
    handler.refuse = lambda clone: find_misfit(clone, workers.slots, configs)
    return workers


def list_configs(search: Search) -> list[TrialConfig]:
    """All kinds of trials that are to come: the space's corners, and clones."""
    clones = [t.config for t in search.searched if t.origin and t.state not in ENDED]
    return [*check_space(search.space, search.config.base), *clones]


def list_adapters(
    search: Search, cluster: Cluster, workers: Workers, handler: RequestHandler, mirrors: Mirrors
) -> tuple[Any, ...]:
    """Ray Tune's searcher, scheduler and callbacks."""
    from tune.workers.bridge import (
        ControlCallback,
        CurvesCallback,
        FaultCallback,
        ForgetCallback,
        HeartbeatsCallback,
        LeaseSearcher,
        ReportScheduler,
    )
    from tune.workers.heartbeats import HeartbeatReader

    return (
        LeaseSearcher(search, workers.survey),
        ReportScheduler(search, workers.release),
        FaultCallback(search, workers.release, cluster.check),
        ControlCallback(search, handler.look, workers.release),
        HeartbeatsCallback(HeartbeatReader(), mirrors.display),
        CurvesCallback(search, mirrors.reporters),
        ForgetCallback(),
    )
