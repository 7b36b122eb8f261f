"""A trial's checkpoints on object storage: as on a disk, the manifest last."""

import json
from pathlib import Path

from trainable.storage.checkpoint import MANIFEST, choose_stale, is_whole, spell_checkpoint
from trainable.storage.remote import Remote


def push_checkpoint(remote: Remote, checkpoint: Path) -> None:
    """Copies it there, whole; drops those needed no more."""
    names = [str(p.relative_to(checkpoint)) for p in sorted(checkpoint.rglob("*")) if p.is_file()]
    names.sort(key=lambda name: name == MANIFEST)
    remote.under(checkpoint.name).push(checkpoint, names)
    prune(remote)


def pull_last(remote: Remote, folder: Path) -> None:
    """Brings the last one that is whole to `folder/TURNS`, unless it is there."""
    files = remote.list_files()
    for turns in sorted(filter(None, map(_read_turns, files)), key=int, reverse=True):
        if not is_whole(folder / turns):
            remote.pull(folder, [name for name in files if name.startswith(f"{turns}/")])
        if is_whole(folder / turns):
            return


def _read_turns(name: str) -> str | None:
    """The checkpoint whose manifest is called so."""
    turns, _, rest = name.partition("/")
    return turns if rest == MANIFEST and turns.isdecimal() else None


def prune(remote: Remote, *, has_ended: bool = False) -> None:
    """Removes those that `keep_best_and_last` would; what it strips stays whole there."""
    found = []
    for name in remote.list_files():
        if _read_turns(name) is not None:
            with remote.system.open_input_stream(f"{remote.root}/{name}") as file:
                found.append(spell_checkpoint(Path(name).parent, json.loads(file.read())))
    found.sort(key=lambda c: c.turns_seen)
    for checkpoint in choose_stale(found, has_ended=has_ended):
        remote.under(str(checkpoint.path)).remove()
