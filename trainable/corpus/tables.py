"""Rows of any corpus's files, by split."""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.corpus.files import Row
from trainable.corpus.row_files import KINDS, SPLIT_WORDS, find_kind, read_file
from trainable.trial import ConfigError, Setting

SPLITS = ("train", "validation", "test")
# what tools write beside the rows
_OTHERS = {"dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json"}
HELD_OUT = 0.1  # of the training dialogues, for a split that has no file
HELD_OUT_SEED = 0


@dataclass(frozen=True)
class RowPlace:
    """Where a row stands, for messages."""

    path: Path
    number: int  # from 1
    split: str = ""  # of a file that holds several

    def __str__(self) -> str:
        split = f", {self.split}" if self.split else ""
        return f"{self.path.name}{split}, row {self.number}"


def find_rows(place: Path, name: str) -> dict[str, list[Path]]:
    """A file or a folder's files with rows, by split: "" for those whose name says none. A folder
    whose name is no split's holds another part. Raises ConfigError where the corpus `name` has
    several."""
    if place.is_file():
        return {name_split(place.stem): [place]}
    found = [
        path
        for path in sorted(place.rglob("*"))
        if find_kind(path) in KINDS and path.name not in _OTHERS and path.is_file()
        if not (path.suffix == ".arrow" and path.name.startswith("cache-"))  # `map` writes those
        if not any(part.startswith(".") for part in path.relative_to(place).parts)
    ]
    by_part: dict[str, dict[str, list[Path]]] = {}
    for path in found:
        own = path.relative_to(place)
        part = "/".join(p for p in own.parts[:-1] if p != "data" and not name_split(p))
        split = name_split(own.stem) or next(filter(None, map(name_split, own.parts[:-1])), "")
        by_part.setdefault(part, {}).setdefault(split, []).append(path)
    if len(by_part) > 1 and "" not in by_part:
        raise ConfigError(
            f"corpus {name} has several parts ({', '.join(sorted(by_part))}): name one, such as ",
            Setting("corpus", f"{name}/{min(by_part)}"),
        )
    return by_part.get("") or next(iter(by_part.values()), {})


def name_split(name: str) -> str:
    """The split that a name says; "" for none.

    >>> name_split("train-00000-of-00001"), name_split("my_dev"), name_split("chats")
    ('train', 'validation', '')
    """
    words = re.split(r"[\W_]+", name.lower())
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), "")


def read_splits(files: Mapping[str, Sequence[Path]]) -> dict[str, list[tuple[RowPlace, Row]]]:
    """The rows of each split's files; of a file that holds several splits by their names, each to
    its own. See `read_rows`."""
    rows: dict[str, list[tuple[RowPlace, Row]]] = {split: [] for split in files}
    for split, paths in files.items():
        for place, row in read_rows(paths):
            rows.setdefault(place.split or split, []).append((place, row))
    return rows


def read_rows(paths: Sequence[Path]) -> Iterator[tuple[RowPlace, Row]]:
    """Every row with its place. Raises ConfigError on a file that is not whole, or holds no
    objects."""
    for path in paths:
        for split, rows in read_file(path).items():
            for number, row in enumerate(rows, start=1):
                place = RowPlace(path, number, split)
                if not isinstance(row, Mapping):
                    raise ConfigError(
                        f"a row of a corpus must be an object, and {place} is "
                        f"{type(row).__name__}: correct the file"
                    )
                yield place, row


def list_structs(value: Any) -> Sequence[Row]:
    """A list of structs, also where a Parquet file stores it as a struct of lists."""
    if isinstance(value, Mapping):
        return [dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=True)]
    found: Sequence[Row] = value
    return found


def complete_splits(
    found: Mapping[str, Sequence[Any]], name: str
) -> tuple[dict[str, list[Any]], list[str]]:
    """All three splits, and a line for each that was made: a tenth of the training dialogues by a
    fixed seed. Raises ConfigError where there is nothing to train on or to hold out."""
    notes = []
    by_split = {split: list(found.get(split, ())) for split in SPLITS}
    missing = [split for split in SPLITS[1:] if not by_split[split]]
    train = by_split["train"]
    if len(train) <= len(missing):
        raise ConfigError(
            f"corpus {name} must have dialogues to train on and to hold out, and has "
            f"{len(train)} for training: add some, or a file for each of train, validation, test"
        )
    random.Random(HELD_OUT_SEED).shuffle(order := list(range(len(train))))
    n_held_out = max(round(HELD_OUT * len(train)), 1)
    for split in missing:
        taken, order = set(order[:n_held_out]), order[n_held_out:]
        by_split[split] = [d for place, d in enumerate(train) if place in taken]
        notes.append(
            f"no file of the {split} split: held out for it are {len(taken)} of the training "
            f"dialogues (seed {HELD_OUT_SEED})"
        )
    if missing:
        kept = set(order)
        by_split["train"] = [d for place, d in enumerate(train) if place in kept]
    return by_split, notes
