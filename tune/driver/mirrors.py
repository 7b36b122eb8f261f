"""Who shows the sweep elsewhere while it runs: the live table, Optuna's journal, trackers, the
leaderboard's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.records import SweepRecords
from trainable.system.throttle import Throttle
from tune.driver.request_handler import RequestHandler
from tune.folder.recorder import replay_events
from tune.search.live_ledger import LiveLedger
from tune.search.search import Search

if TYPE_CHECKING:
    from rich.console import Console

    from tune.folder.mirror import Mirror
    from tune.folder.report_to import Reporter
    from tune.terminal.live import Display


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
    ledger = handler.budget.ledger = LiveLedger()
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
