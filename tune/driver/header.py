"""A sweep's header, sweep.json, as its driver writes it, and what has changed since."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.records import FORMAT, SweepRecords
from search_spaces.space import Space
from trainable.system.retries import retry_io
from trainable.system.versions import PACKAGES, read_versions
from trainable.system.whole import write_json, write_whole
from tune.folder.versions import read_commit
from tune.plan.sweep_file import NAME as SWEEP_FILE
from tune.plan.sweep_file import spell_sweep
from tune.search.config import SweepConfig
from tune.search.search import Search
from tune.search.trials import ENDED

if TYPE_CHECKING:
    from tune.plan.new import Plan


def write_headers(plan: Plan, records: SweepRecords | None) -> dict[str, Any]:
    """What sweep.json says from now on, which is written last: it makes the folder a sweep's.
    Raises StorageFault."""
    config, space = plan.config, plan.space
    header = compose_header(config, space, records)
    if records is None or has_changed(header, records):
        text = spell_sweep(config, space)
        retry_io(lambda: write_whole(config.folder / SWEEP_FILE, text.encode()), print)
        retry_io(lambda: write_header(config.folder, header), print)
    return header


def write_header(folder: Path, header: Mapping[str, Any]) -> None:
    write_json(folder / "sweep.json", {"format": FORMAT, **header})


def compose_header(
    config: SweepConfig, space: Space, records: SweepRecords | None
) -> dict[str, Any]:
    """sweep.json's content; a sweep that goes on keeps the time (Unix, in seconds) of its start."""
    return {
        "name": config.name,
        "space": space.to_dict(),
        "config": config.to_dict(),
        "versions": read_versions(),
        "commit": read_commit(),
        "created_s": records.created_s if records else time.time(),
    }


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
