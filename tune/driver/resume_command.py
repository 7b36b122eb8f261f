"""The command that goes on with a sweep."""

from __future__ import annotations

import shlex

from trainable.command.parser import spell_command
from trainable.storage.remote import find_remote
from tune.search.config import SweepConfig


def spell_resume(config: SweepConfig) -> str:
    """What goes on with the sweep, from the folder in which it was started."""
    remote = find_remote(config.folder)
    storage = remote.uri if remote else config.storage
    where = [] if storage == "runs" else ["--storage", storage]
    if config.objective.startswith("python:"):  # which no record starts by itself
        where += ["--objective", config.objective]
    return f"{spell_command('tune.run')} {shlex.join(['--resume', config.name, *where])}"
