"""A corpus by its name: "cambridge", "multiwoz", a folder, or a Hugging Face dataset id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from trainable.corpus import multiwoz
from trainable.corpus.goals import find_aims, read_aims
from trainable.corpus.huggingface import fetch_dataset, find_tables, read_dialogues
from trainable.dialogue.database import Database, read_rows
from trainable.dialogue.dialogue import Dialogue, Turn
from trainable.system.cache import fingerprint_files, recall
from trainable.system.garbage import pause_collection
from trainable.trial import ConfigError

Rows = dict[str, list[dict[str, Any]]]  # the databases', by domain

READER = "3"  # goes up when the same files would give other dialogues


@dataclass(frozen=True, kw_only=True)
class Corpus:
    name: str
    splits: Mapping[str, tuple[Dialogue, ...]]  # train, validation, test
    database: Database
    fingerprint: str  # of the source files' contents, and of this reader
    moved_spans: int = 0  # that did not cover the value they carry, and were moved to it

    def get_split(self, split: str) -> tuple[Dialogue, ...]:
        """Raises ConfigError on a split that does not exist, or is empty."""
        if not self.splits.get(split):
            raise ConfigError(
                f"--split must be one of {', '.join(s for s in self.splits if self.splits[s])} "
                f"with corpus {self.name}, not {split!r}"
            )
        return self.splits[split]


def load_corpus(name: str) -> Corpus:
    """The corpus; parsed once, then read from the cache. Raises ConfigError in one line."""
    if name == "cambridge":
        from trainable.corpus.embedded import generate_folder

        return read_corpus(name, generate_folder())
    if name == "multiwoz":
        from trainable.corpus.download import download_multiwoz

        return read_corpus(name, download_multiwoz())
    folder = Path(name).expanduser()
    if folder.is_dir():
        return read_tables(name, folder) if find_tables(folder) else read_corpus(name, folder)
    if name.startswith((".", "/", "~")):
        raise ConfigError(
            f"corpus must be a folder that exists, and {name} does not (--corpus, --set corpus=)"
        )
    return read_tables(name, fetch_dataset(name))


def read_corpus(name: str, folder: Path) -> Corpus:
    """From a folder in MultiWOZ 2.2's layout."""
    files = multiwoz.find_files(folder)
    fingerprint = fingerprint_files(files, READER)
    return _restore(name, fingerprint, lambda tell: multiwoz.read_folder(files, tell))


def read_tables(name: str, folder: Path) -> Corpus:
    """From a folder of Parquet files as the hub's mirrors have them."""
    tables = find_tables(folder)
    beside = find_annotations(folder)
    aims, rows = find_aims(beside), beside / "db"
    sources = [*chain.from_iterable(tables.values()), *aims, *sorted(rows.glob("*_db.json"))]

    def read(tell: multiwoz.Tell) -> tuple[multiwoz.Splits, Rows]:
        raw, goals = read_dialogues(tables), read_aims(aims)
        return {
            split: tuple(
                multiwoz.build_dialogue(name, turns, goals, tell) for name, turns in dialogues
            )
            for split, dialogues in raw.items()
        }, read_rows(rows)

    return _restore(name, fingerprint_files(sources, READER, "parquet"), read)


def find_annotations(folder: Path) -> Path:
    """Where goals and databases are: in `folder`, or downloaded from the official repository."""
    if (folder / "db").is_dir():
        return folder
    from trainable.corpus.download import ANNOTATIONS, download_multiwoz

    return download_multiwoz(ANNOTATIONS)


@pause_collection()
def _restore(
    name: str, fingerprint: str, read: Callable[[multiwoz.Tell], tuple[multiwoz.Splits, Rows]]
) -> Corpus:
    def build() -> dict[str, Any]:
        moved: list[str] = []
        splits, rows = read(moved.append)
        packed = {s: [*map(_pack, ds)] for s, ds in splits.items()}
        return {"splits": packed, "rows": rows, "moved_spans": len(moved)}

    kept = recall(fingerprint, build)
    return Corpus(
        name=name,
        splits={split: tuple(map(_unpack, packed)) for split, packed in kept["splits"].items()},
        database=Database(kept["rows"]),
        fingerprint=fingerprint,
        moved_spans=kept["moved_spans"],
    )


def _pack(dialogue: Dialogue) -> list[Any]:
    turns = [[t.user, t.response, t.delexicalised, t.state, t.booked] for t in dialogue.turns]
    return [dialogue.id, dialogue.goal, turns]


def _unpack(packed: list[Any]) -> Dialogue:
    name, goal, turns = packed
    return Dialogue(
        id=name,
        goal=goal,
        turns=tuple(
            Turn(
                user=user, response=response, delexicalised=delex, state=state, booked=tuple(booked)
            )
            for user, response, delex, state, booked in turns
        ),
    )
