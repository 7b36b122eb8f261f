"""Which folder a command's NAME means."""

import argparse
from pathlib import Path

from analysis.records import describe_missing
from trainable.storage.remote import fetch_headers, is_remote, locate
from trainable.trial import ConfigError


def find_folder(name: str, storage: Path, flag: str = "--resume") -> Path:
    """The sweep's folder: under the storage, or a path. Raises ConfigError if there is none."""
    for folder in (storage / name, Path(name)):
        if (folder / "sweep.json").is_file():
            return folder.absolute()
    raise ConfigError(f"{flag}: {describe_missing(name, storage)}")


def open_folder(flags: argparse.Namespace, command: str) -> Path:
    """The folder of the sweep that a command names; its local copy where that lies on object
    storage. Raises ConfigError."""
    if is_remote(flags.name):
        storage, _, flags.name = flags.name.rstrip("/").rpartition("/")
        flags.storage = locate(storage)
    fetch_headers(Path(flags.storage))
    return find_folder(flags.name, Path(flags.storage), command)
