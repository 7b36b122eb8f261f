"""Corpus files, read whole; errors name the file."""

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainable.trial import ConfigError

Row = Mapping[str, Any]
LABELS = {"0": "USER", "1": "SYSTEM"}  # classes of speakers, in Parquet files


def read_json(path: Path) -> Any:
    """The file's value; of a .zip, that of the data.json in it. Raises ConfigError."""
    try:
        if path.suffix != ".zip":
            return json.loads(path.read_bytes())
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if Path(n).name == "data.json")
            return json.loads(archive.read(name))
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"a corpus file must be whole JSON, and {path} is not ({error}): fetch it again"
        ) from error


@contextmanager
def expect_fields(place: str, layout: str = "MultiWOZ") -> Iterator[None]:
    """Where a field is missing, or of another type, inside: a ConfigError that names the place."""
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{place} must have {layout}'s published fields and has not "
            f"({type(error).__name__}: {error}): fetch the corpus again"
        ) from error


def pair_turns(name: str, turns: Sequence[Row], key: str = "speaker") -> Iterator[tuple[Row, Row]]:
    """User and system turn after turn; a last user turn without an answer is left out. Raises
    ConfigError where they do not take turns."""
    for number in range(0, len(turns) - 1, 2):
        asked, answered = turns[number], turns[number + 1]
        speakers = [str(turn[key]).upper() for turn in (asked, answered)]
        if [LABELS.get(speaker, speaker) for speaker in speakers] != ["USER", "SYSTEM"]:
            raise ConfigError(
                f"USER and SYSTEM must take turns, and {name} does not at turn {number}"
            )
        yield asked, answered
