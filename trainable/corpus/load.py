"""A corpus by its name: "cambridge", "multiwoz", "sgd", a folder, a file of chats, or a Hugging
Face dataset id."""

from itertools import chain
from pathlib import Path

from trainable.corpus import multiwoz, sgd, spokenwoz
from trainable.corpus.chats import Tally, read_chats
from trainable.corpus.corpus import Corpus, Parsed, Tell, restore
from trainable.corpus.goals import find_aims, read_aims
from trainable.corpus.huggingface import fetch_dataset, find_tables, read_dialogues
from trainable.corpus.layout import recognise
from trainable.corpus.row_files import KINDS, find_kind
from trainable.corpus.tables import complete_splits, find_rows, read_rows, read_splits
from trainable.dialogue.database import read_rows as read_database
from trainable.system.cache import fingerprint_files
from trainable.trial import ConfigError, Missing, Setting, nearest

READER = "4"  # goes up when the same files would give other dialogues
CHATS = "chats-4"  # likewise, of the reader of chats alone


def load_corpus(name: str) -> Corpus:
    """The corpus; parsed once, then read from the cache. Raises ConfigError in one line."""
    if name == "cambridge":
        from trainable.corpus.embedded import generate_folder

        return read_corpus(name, generate_folder())
    if name == "multiwoz":
        from trainable.corpus.download import download_multiwoz

        return read_corpus(name, download_multiwoz())
    if name == "sgd":
        from trainable.corpus.download import download_sgd

        return read_sgd(name, download_sgd())
    place = Path(name).expanduser()
    if place.exists():
        return read_place(name, place)
    if name.startswith((".", "/", "~")) or find_kind(place) in KINDS:
        beside = [path.name for path in place.parent.glob("*")] if place.parent.is_dir() else []
        raise Missing(
            "corpus must be a folder that exists, or a file of chats, and "
            f"{name} does not{nearest(place.name, beside)} (",
            *(Setting("corpus"), ")"),
        )
    return read_place(name, fetch_dataset(name))


def read_place(name: str, place: Path) -> Corpus:
    """From a folder or file, whatever its layout."""
    match recognise(place):
        case "chats":
            return read_chat_files(name, place)
        case "sgd":
            return read_sgd(name, place)
        case "spokenwoz":
            return read_spokenwoz(name, place)
        case "mirror":
            return read_tables(name, place)
        case "multiwoz":
            return read_corpus(name, place)


def read_corpus(name: str, folder: Path) -> Corpus:
    """From a folder in MultiWOZ 2.2's layout."""
    files = multiwoz.find_files(folder)

    def read(tell: Tell) -> Parsed:
        splits, rows = multiwoz.read_folder(files, tell)
        return Parsed(splits=splits, rows=rows)

    return restore(name, fingerprint_files(files, READER), read)


def read_chat_files(name: str, place: Path) -> Corpus:
    """From files of rows: see `trainable.corpus.chats`."""
    files = find_rows(place, name)
    named = {split: paths for split, paths in files.items() if split}
    unread = files.get("", [])
    if "train" not in named:
        if "" not in files:
            raise ConfigError(
                f"corpus {name} must have training dialogues, and has files of "
                f"{' and '.join(named)} alone: add a file called train, and give their folder"
            )
        named["train"], unread = unread, []

    def read(tell: Tell) -> Parsed:
        tally = Tally()
        found = {
            split: read_chats(rows, split, tally) for split, rows in read_splits(named).items()
        }
        notes = tally.list_notes()
        for split, dialogues in found.items():
            if not dialogues:
                why = f": {notes[0]}" if notes else ""
                raise ConfigError(f"no dialogue of split {split} of corpus {name} can be used{why}")
        splits, made = complete_splits(found, name)
        return Parsed(
            splits={split: tuple(dialogues) for split, dialogues in splits.items()},
            rows={},
            notes=(
                *made,
                *notes,
                *(f"not read: {path.name}, whose name tells no split" for path in unread),
            ),
        )

    sources = [*chain.from_iterable(named.values())]
    return restore(name, fingerprint_files(sources, READER, CHATS), read, "chats")


def read_sgd(name: str, folder: Path) -> Corpus:
    """From a folder in SGD's layout, or of its Parquet files."""
    tables = find_rows(folder, name) if any(folder.rglob("*.parquet")) else None
    files = sgd.find_files(folder) if tables is None else tables

    def read(tell: Tell) -> Parsed:
        if tables is None:
            return Parsed(splits=sgd.read_splits(files), rows={})
        splits = {
            split: sgd.build_dialogues((row for _, row in read_rows(paths)), split)
            for split, paths in files.items()
        }
        whole, notes = complete_splits(splits, name)
        return Parsed(
            splits={split: tuple(ds) for split, ds in whole.items()}, rows={}, notes=tuple(notes)
        )

    sources = [*chain.from_iterable(files.values())]
    return restore(name, fingerprint_files(sources, READER, "sgd-2"), read, "sgd")


def read_spokenwoz(name: str, folder: Path) -> Corpus:
    """From a folder in SpokenWOZ's layout."""
    files = spokenwoz.find_files(folder)
    rows = next((p for p in (folder / spokenwoz.TRAIN / "db", folder / "db") if p.is_dir()), folder)

    def read(tell: Tell) -> Parsed:
        splits, notes = spokenwoz.read_splits(files)
        return Parsed(splits=splits, rows=read_database(rows), notes=tuple(notes))

    sources = [*files, *sorted(rows.glob("*_db.json"))]
    return restore(name, fingerprint_files(sources, READER, "spokenwoz-2"), read)


def read_tables(name: str, folder: Path) -> Corpus:
    """From a folder of Parquet files as the hub's mirrors of MultiWOZ have them."""
    tables = find_tables(folder)
    beside = find_annotations(folder)
    aims, rows = find_aims(beside), beside / "db"
    sources = [*chain.from_iterable(tables.values()), *aims, *sorted(rows.glob("*_db.json"))]

    def read(tell: Tell) -> Parsed:
        raw, goals = read_dialogues(tables), read_aims(aims)
        splits = {
            split: tuple(
                multiwoz.build_dialogue(name, turns, goals, tell) for name, turns in dialogues
            )
            for split, dialogues in raw.items()
        }
        return Parsed(splits=splits, rows=read_database(rows))

    return restore(name, fingerprint_files(sources, READER, "parquet-2"), read)


def find_annotations(folder: Path) -> Path:
    """Where goals and databases are: in `folder`, or downloaded from the official repository."""
    if (folder / "db").is_dir():
        return folder
    from trainable.corpus.download import ANNOTATIONS, download_multiwoz

    return download_multiwoz(ANNOTATIONS)
