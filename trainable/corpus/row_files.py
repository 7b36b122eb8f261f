"""One file's rows: JSON lines, JSON, CSV, Parquet or Arrow, the texts compressed or not."""

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainable.trial import ConfigError

KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather")
_UNPACK = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ARROW_FILE = b"ARROW1"  # begins Arrow's (and Feather's) files, where datasets writes its streams
_LONGEST_CELL = 2**31 - 1  # of a CSV file, in characters; csv's own limit is 131,072
# what split a name says
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "eval", "evaluation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# of JSON, CSV, Parquet (pyarrow's own are ValueErrors), of what is compressed
_FAULTS = (OSError, ValueError, RecursionError, csv.Error, EOFError, zlib.error, lzma.LZMAError)


def find_kind(path: Path) -> str:
    """One of KINDS, or another suffix.

    >>> find_kind(Path("train.JSONL.gz"))
    '.jsonl'
    """
    name = path.with_suffix("") if path.suffix.lower() in _UNPACK else path
    return name.suffix.lower()


def read_file(path: Path) -> dict[str, list[Any]]:
    """The file's rows under ""; those of a JSON object of splits, {"train": [...]}, by split.
    Raises ConfigError on a file that is not whole."""
    try:
        match find_kind(path):
            case ".parquet":
                return {"": _read_parquet(path)}
            case ".arrow" | ".feather":
                return {"": _read_arrow(path)}
            case ".csv" | ".tsv":
                return {"": _read_csv(_read_text(path))}
            case ".json":
                return _read_json(_read_text(path))
            case _:
                return {"": _read_lines(_read_text(path))}
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} must be text in UTF-8, and is not at byte {error.start:,}: save it as UTF-8"
        ) from error
    except _FAULTS as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{path} cannot be read ({first_line}): correct or fetch it again") from (
            error
        )


def _read_parquet(path: Path) -> list[Any]:
    from pyarrow import parquet

    return list(parquet.read_table(path).to_pylist())


def _read_arrow(path: Path) -> list[Any]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        is_file = source.read(len(_ARROW_FILE)) == _ARROW_FILE
        source.seek(0)
        reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
        return list(reader.read_all().to_pylist())


def _read_text(path: Path) -> str:
    """Without a mark of its encoding; lines end with \\n."""
    content = path.read_bytes()
    if unpack := _UNPACK.get(path.suffix.lower()):
        content = unpack(content)
    text = content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_json(text: str) -> dict[str, list[Any]]:
    """A list, or an object whose `data` is one, or one of splits; else JSON lines."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise
        return {"": _read_lines(text)}
    if isinstance(value, Mapping) and isinstance(value.get("data"), list):
        value = value["data"]
    if isinstance(value, Mapping) and _has_splits(value):
        splits: dict[str, list[Any]] = {}
        for name, rows in value.items():
            splits.setdefault(SPLIT_WORDS[name.lower()], []).extend(rows)
        return splits
    return {"": value if isinstance(value, list) else [value]}


def _has_splits(value: Mapping[str, Any]) -> bool:
    is_split = (
        name.lower() in SPLIT_WORDS and isinstance(rows, list) for name, rows in value.items()
    )
    return bool(value) and all(is_split)


def _read_lines(text: str) -> list[Any]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number}: {error}") from error
    return rows


def _read_csv(text: str) -> list[dict[str, Any]]:
    """By the names in the first line, divided by what divides those: comma, semicolon or tab."""
    csv.field_size_limit(_LONGEST_CELL)
    head = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=head.count), strict=True)
    rows = []
    for row in reader:
        if None in row:
            raise ValueError(f"line {reader.line_num}: more cells than the first line names")
        rows.append(row)
    return rows
