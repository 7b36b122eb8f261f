"""A trial's checkpoints: `checkpoints/TRIAL/TURNS/`, each whole or not there.

A checkpoint is written beside its place, its manifest last, then renamed. It carries the
evaluation made at that point, so that a worker's death never costs one twice.

Large ones are bounded in number: of a trial under way the last alone can be gone on from, and of
one that has ended the adapter is left.
"""

import json
import os
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainable.finetuner import Finetuner
from trainable.result import EvalResult, Evaluation
from trainable.system.inside import is_below
from trainable.system.json_object import read_object
from trainable.system.whole import write_whole

MANIFEST = "manifest.json"
EVALUATION = "evaluation.json"
FORMAT = 1
KEPT_LAST = 2  # the last, and the one before it in case the last is damaged
LARGE_BYTES = 2**29  # above it the last alone, which is on the disk before the one before goes
# In a checkpoint, what only further training reads: AdamW's moments, last weights, a stable run
FOR_TRAINING = ("optimizer.safetensors", "optimizer.pt", "last_weights.pt", "trunk", "trunk.pt")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    path: Path
    turns_seen: int
    score: float | None  # higher is better; None: the objective was not measured there
    n_bytes: int = 0
    is_bare: bool = False  # training cannot go on from it any more

    @property
    def is_large(self) -> bool:
        return self.n_bytes > LARGE_BYTES


def write_checkpoint(folder: Path, finetuner: Finetuner, evaluation: Evaluation) -> Path:
    """Saves finetuner and evaluation whole as `folder/TURNS`; drops those needed no more. Makes
    the folder, but none above it: a storage that is away must not be written beside."""
    place = folder / str(evaluation.result.turns_seen)
    draft = folder / f".{place.name}-{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    draft.mkdir()
    try:
        _write_draft(draft, finetuner, evaluation)
        if place.exists():  # written before a restart, perhaps damaged since
            shutil.rmtree(place)
        draft.rename(place)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)  # gives its room back where the disk is full
        raise
    keep_best_and_last(folder)
    return place


def _write_draft(draft: Path, finetuner: Finetuner, evaluation: Evaluation) -> None:
    finetuner.save(draft)
    (draft / EVALUATION).write_text(json.dumps(asdict(evaluation)), encoding="utf-8")
    files = sorted(p for p in draft.rglob("*") if p.is_file())
    if sum(path.stat().st_size for path in files) > LARGE_BYTES:
        for path in files:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    manifest = {
        "format": FORMAT,
        "turns_seen": evaluation.result.turns_seen,
        "score": None if evaluation.result.value is None else evaluation.result.score,
        "files": {str(p.relative_to(draft)): _fingerprint(p) for p in files},
    }
    with (draft / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(manifest, file)
        file.flush()
        os.fsync(file.fileno())


def list_checkpoints(folder: Path) -> list[Checkpoint]:
    """Those with a readable manifest, by turns_seen, ascending."""
    found = []
    for manifest in (place / MANIFEST for place in _list_places(folder)):
        try:
            found.append(spell_checkpoint(manifest.parent, read_object(manifest)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            continue  # torn: `find_last_whole` names it
    return sorted(found, key=lambda c: c.turns_seen)


def spell_checkpoint(path: Path, manifest: Mapping[str, Any]) -> Checkpoint:
    """What the manifest tells of the checkpoint there."""
    score = manifest["score"] if "score" in manifest else manifest["combined"]  # earlier versions'
    return Checkpoint(
        path=path,
        turns_seen=int(manifest["turns_seen"]),
        score=None if score is None else float(score),
        n_bytes=sum(int(file["bytes"]) for file in manifest["files"].values()),
        is_bare=bool(manifest.get("is_bare", False)),
    )


def _list_places(folder: Path) -> list[Path]:
    return [p for p in folder.glob("[0-9]*") if p.name.isdecimal()]


def find_last_whole(
    folder: Path, *, to_train: bool = False
) -> tuple[Checkpoint | None, tuple[str, ...]]:
    """The last checkpoint whose every file is as it was written (`to_train`: from which training
    can go on), and one line for each that is not."""
    known = {c.path: c for c in list_checkpoints(folder)}
    notes: list[str] = []
    for path in sorted(_list_places(folder), key=lambda p: int(p.name), reverse=True):
        there, name = known.get(path), f"checkpoint {folder.name}/{path.name}"
        if there is None or not is_whole(path):
            notes.append(f"{name} is torn: going back to the one before")
        elif to_train and there.is_bare:
            notes.append(f"{name} holds an adapter alone, from which no training goes on")
        else:
            return there, tuple(notes)
    return None, tuple(notes)


def is_whole(checkpoint: Path) -> bool:
    """Whether all files of its manifest are there, as they were written."""
    try:
        files = read_object(checkpoint / MANIFEST)["files"]
        return all(
            is_below(name) and _fingerprint(checkpoint / name) == was for name, was in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def read_evaluation(checkpoint: Path) -> Evaluation:
    """What was written with it. Raises OSError, ValueError, KeyError, TypeError on a torn one."""
    values = read_object(checkpoint / EVALUATION)
    result = values["result"]
    result["intervals"] = {k: (low, high) for k, (low, high) in result["intervals"].items()}
    return Evaluation(**{**values, "result": EvalResult(**result)})


def keep_best_and_last(folder: Path, *, has_ended: bool = False) -> None:
    """Removes all but the best checkpoint and the latest ones, and drafts left behind: of a trial
    that has ended the last alone. Of large ones that training will not go on from, the moments."""
    there = list_checkpoints(folder)
    stale = choose_stale(there, has_ended=has_ended)
    for checkpoint in stale:
        shutil.rmtree(checkpoint.path, ignore_errors=True)
    kept = [c for c in there if c not in stale]
    for checkpoint in kept if has_ended else kept[:-1]:
        if checkpoint.is_large:
            strip(checkpoint.path)
    for draft in folder.glob(".[0-9]*"):
        shutil.rmtree(draft, ignore_errors=True)


def choose_stale(there: list[Checkpoint], *, has_ended: bool = False) -> list[Checkpoint]:
    """Of checkpoints in their order, those that are neither the best nor among the latest."""
    last = 1 if has_ended or (there and there[-1].is_large) else KEPT_LAST
    scored = [c for c in there if c.score is not None]
    best = max(scored, key=lambda c: c.score or 0.0, default=None)
    return [c for c in there[: max(len(there) - last, 0)] if c is not best]


def strip(checkpoint: Path) -> None:
    """Leaves what is scored. It is whole at every moment: the manifest forgets the files first."""
    manifest = read_object(checkpoint / MANIFEST)
    gone = [name for name in manifest["files"] if name.split("/")[0] in FOR_TRAINING]
    files = {name: was for name, was in manifest["files"].items() if name not in gone}
    bare = {**manifest, "files": files, "is_bare": True}
    write_whole(checkpoint / MANIFEST, json.dumps(bare).encode())
    for name in gone:
        (checkpoint / name).unlink(missing_ok=True)


def _fingerprint(path: Path) -> dict[str, Any]:
    checksum, size = 0, 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            checksum, size = zlib.crc32(chunk, checksum), size + len(chunk)
    return {"bytes": size, "crc32": checksum}
