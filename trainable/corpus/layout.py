"""Which layout a corpus's files have."""

from pathlib import Path
from typing import Literal

from trainable.corpus import sgd, spokenwoz
from trainable.corpus.multiwoz import IN_CHECKOUT
from trainable.corpus.row_files import KINDS, find_kind

# multiwoz, mirror (its Parquet files), spokenwoz: spans, states, goals, databases; sgd: spans and
# states; chats: words alone
Layout = Literal["multiwoz", "mirror", "spokenwoz", "sgd", "chats"]
MULTIWOZ = ("dialog_acts.json", "schema.json", "goals.json", "data.json", "db", str(IN_CHECKOUT))


def recognise(place: Path) -> Layout:
    """Of a folder or a file. What has something of MultiWOZ's is taken for it, whose reader names
    what lacks."""
    if place.is_file():
        return "chats"
    if (place / spokenwoz.TRAIN).is_dir():
        return "spokenwoz"
    if any((place / name / sgd.SCHEMA).is_file() for name in sgd.SPLITS.values()):
        return "sgd"
    tables = sorted(place.rglob("*.parquet"))
    if any((place / name).exists() for name in MULTIWOZ):
        return "mirror" if tables else "multiwoz"
    if tables:
        return recognise_table(tables[0])
    has_rows = any(find_kind(path) in KINDS for path in place.rglob("*"))
    return "chats" if has_rows else "multiwoz"


def recognise_table(table: Path) -> Layout:
    """By a Parquet file's columns. One that cannot be read is left to MultiWOZ's reader."""
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(table)
    except (OSError, ValueError):
        return "mirror"
    if not {"dialogue_id", "turns"} <= set(schema.names):
        return "chats"
    return "mirror" if "dialogue_acts" in str(schema.field("turns").type) else "sgd"
