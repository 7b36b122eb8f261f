"""All sweeps of a folder, the latest first, and how far each has come: python -m tune.list"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.command.flags import add_storage
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.trial import ConfigError

if TYPE_CHECKING:
    from analysis.records import SweepRecords


def show(flags: argparse.Namespace) -> Outcome:
    from rich.console import Console

    from trainable.storage.remote import fetch_headers

    storage = Path(flags.storage)
    fetch_headers(storage)
    sweeps = list_sweeps(storage)
    if not sweeps:
        raise ConfigError(f"there is no sweep under {storage}: start one, or give --storage")
    Console(file=sys.stdout).print(tabulate(sweeps))
    return Outcome(facts={"storage": storage, "sweeps": sweeps})


def list_sweeps(storage: Path) -> list[dict[str, Any]]:
    """JSON-ready, the latest first; of one that cannot be read, why."""
    found = [describe(path.parent) for path in storage.glob("*/sweep.json")]
    return sorted(found, key=lambda sweep: (-(sweep["created_s"] or 0.0), sweep["name"]))


def describe(folder: Path) -> dict[str, Any]:
    from analysis.records import read_sweep
    from trainable.storage.remote import fetch_events

    try:
        fetch_events(folder)
        return summarise(read_sweep(folder))
    except ConfigError as error:
        unknown = ("space", "state", "driver", "trials", "waiting", "best", "created_s")
        nothing = dict.fromkeys(unknown)
        return {"name": folder.name, **nothing, "state": "unreadable", "error": str(error)}


def summarise(records: SweepRecords) -> dict[str, Any]:
    from analysis.choice import choose_best
    from tune.folder.lock import find_owner

    driver, best = find_owner(records.folder), choose_best(records)
    state = "running" if driver else "paused" if records.is_running else "finished"
    return {
        "name": records.folder.name,
        "space": records.space.get("name"),
        "state": state,
        "driver": driver,
        "trials": {"wanted": records.config.get("trials"), **records.count_states()},
        "waiting": records.n_waiting,
        "best": best and {"trial": best.trial.id, "score": best.value},
        "objective": records.objective,
        "created_s": records.created_s,
        "error": None,
    }


def tabulate(sweeps: Sequence[dict[str, Any]]) -> Any:
    import time

    from rich.table import Table

    from analysis.labels import format_score

    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("sweep", "space", "state", "trials", "best", "started"):
        table.add_column(title, overflow="fold")
    for sweep in sweeps:
        trials, best = dict(sweep["trials"] or {}), sweep["best"]
        wanted = trials.pop("wanted", None)
        done = f"{sum(trials.values()) - trials.get('RUNNING', 0)} of {wanted}" if wanted else ""
        scored = best and best["score"] is not None
        table.add_row(
            *(sweep["name"], sweep["space"] or "", sweep["error"] or sweep["state"], done),
            f"{format_score(best['score'], sweep['objective'])} ({best['trial']})"
            if scored
            else "",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(sweep["created_s"] or 0.0)),
        )
    return table


def build_parser() -> Parser:
    parser = Parser("tune.list", __doc__)
    add_storage(parser)
    return parser


main = make_main(build_parser, show)

if __name__ == "__main__":
    start_command(main)
