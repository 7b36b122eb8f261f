"""The command that goes on with a sweep."""

import shlex
from pathlib import Path

from trainable.command.flags import STORAGE
from trainable.command.parser import spell_command
from trainable.evaluation.objective import PYTHON
from trainable.storage.remote import find_remote


def spell_resume(folder: Path, objective: str = "") -> str:
    """What goes on with the sweep in that folder, which compares its trials by the objective."""
    remote, place = find_remote(folder), folder.absolute().parent
    where = [] if place == Path(STORAGE).absolute() else ["--storage", str(place)]
    if remote is not None:
        where = ["--storage", remote.uri]
    if objective.startswith(PYTHON):  # which no record starts by itself
        where += ["--objective", objective]
    return f"{spell_command('tune.run')} {shlex.join(['--resume', folder.name, *where])}"
