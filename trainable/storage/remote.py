"""Object storage: s3://bucket/prefix, or whatever else pyarrow opens.

Whole files are copied between it and a local folder of the same layout. What is there counts; the
local folder, in the user's cache, is where a driver or a worker works on it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainable.storage import contact
from trainable.storage.contact import ask
from trainable.system.cache import find_cache_folder
from trainable.system.inside import is_below, stay_inside
from trainable.system.whole import write_whole
from trainable.trial import ConfigError

HEADER, EVENTS = "sweep.json", "evals.jsonl"
MARK = ".remote"  # in a storage's local folder: its URI
SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "file")
GOOGLES = ("gs://", "gcs://")
GOOGLES_PATIENCE = "retry_limit_seconds=20"  # pyarrow's own is 15 minutes, deaf to signals
DRIVER_LOCK = "pulse.json"  # beside a sweep's records while it is driven
# Keys that pyarrow would take from a URI, which records, logs and folders' names repeat
KEYS = re.compile(r"[^/]*:[^/]*@|.*[?&][^=]*(secret|password|token|key)[^=]*=", re.IGNORECASE)


def is_remote(storage: str) -> bool:
    """Whether that storage is an address on object storage."""
    return "://" in storage


def locate(storage: str) -> str:
    """The local folder of a storage: of a URI, one in the cache that is marked with it. Raises
    ConfigError on a URI that pyarrow opens no storage by."""
    if not is_remote(storage):
        return storage
    uri = check_uri(storage).rstrip("/")
    folder = _place(uri)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / MARK, uri.encode())
    return str(folder)


def check_uri(uri: str) -> str:
    """The URI with its scheme in small letters. Raises ConfigError.

    >>> check_uri("S3://bucket/prefix")
    's3://bucket/prefix'
    """
    scheme, _, rest = uri.partition("://")
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        raise ConfigError(
            f"--storage must be a folder or begin with {', '.join(f'{s}://' for s in SCHEMES)}, "
            f"not {scheme}://"
        )
    if KEYS.match(rest):
        raise ConfigError(
            f"--storage {scheme}://... must hold no key, since records and logs repeat it: give "
            "it by the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...)"
        )
    if scheme != "file" and not rest.partition("/")[0]:
        raise ConfigError(f"--storage {uri} names no bucket: give {scheme}://BUCKET/PREFIX")
    if not rest.isprintable() or any(c in " \\" for c in rest):
        raise ConfigError(f"--storage {uri!r} holds a space or an odd character: choose another")
    if {".", ".."} & set(rest.split("/")):
        raise ConfigError(f"--storage {uri} has a part . or ..: write the place itself")
    return f"{scheme}://{rest}"


def _place(uri: str) -> Path:
    readable, digest = re.sub(r"[^\w.-]+", "_", uri), hashlib.sha256(uri.encode()).hexdigest()
    return find_cache_folder() / "storage" / f"{readable}-{digest[:8]}"


def find_remote(folder: Path) -> Remote | None:
    """What a sweep's local folder is the copy of; None where it is the sweep itself. A mark counts
    in the cache alone: one in a folder that somebody sent leads nowhere."""
    mark = folder.parent / MARK
    uri = mark.read_text(encoding="utf-8") if mark.is_file() else ""
    is_ours = bool(uri) and _place(uri).resolve() == folder.parent.resolve()
    return Remote(uri).under(folder.name) if is_ours else None


def fetch_headers(storage: Path) -> None:
    """Makes the sweeps of a storage known in its local folder. Raises ConfigError."""
    remote = find_remote(storage / "any")
    if remote is None:
        return
    whole = Remote(remote.uri)

    def bring() -> None:
        names = whole.list_files()
        whole.pull(storage, [n for n in names if n.count("/") == 1 and n.endswith(f"/{HEADER}")])

    with explained(remote.uri):
        # what cannot be written is told now
        ask(remote.uri, lambda: whole.push(storage, [MARK]), contact.FIRST_S)
        ask(remote.uri, bring)


def fetch_sweep(folder: Path) -> None:
    """Brings a sweep's records to its local folder; its checkpoints stay where they are. Raises
    ConfigError."""
    remote = find_remote(folder)
    if remote is not None:
        with explained(remote.uri):
            there = (n for n in ask(remote.uri, remote.list_files) if n != DRIVER_LOCK)
            names = [n for n in there if not n.startswith("checkpoints/")]
            ask(remote.uri, lambda: remote.pull(folder, names))


def fetch_checkpoints(folder: Path, trial: str) -> Path:
    """A trial's folder of checkpoints, brought here if they are elsewhere. Raises ConfigError."""
    remote, place = find_remote(folder), folder / "checkpoints" / trial
    if remote is not None:
        with explained(remote.uri):
            there = remote.under("checkpoints", trial)
            ask(remote.uri, lambda: there.pull(place, there.list_files()))
    return place


def fetch_events(folder: Path) -> None:
    """Brings what has happened in a sweep so far, and no more. Raises ConfigError."""
    remote = find_remote(folder)
    if remote is not None:
        with explained(remote.uri):
            content = ask(remote.uri, lambda: remote.read(EVENTS))
        if content is not None:
            write_whole(folder / EVENTS, content)


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """An error of the storage as a ConfigError."""
    try:
        yield
    except OSError as error:
        keys = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL"
        if uri.startswith(GOOGLES):
            keys = "GOOGLE_APPLICATION_CREDENTIALS, or gcloud auth application-default login"
        why = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"--storage {uri} cannot be used ({why}): check its name, its region and the "
            f"credentials ({keys})"
        ) from error


class Remote:
    """Raises OSError where the storage does not answer."""

    def __init__(self, uri: str, *parts: str) -> None:
        self.uri, self.parts = uri, parts

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.uri, "parts": self.parts}  # a connection does not travel

    def under(self, *names: str) -> Remote:
        return Remote(self.uri, *self.parts, *names)

    def list_files(self) -> dict[str, int]:
        """Name -> size in bytes, of all files below, but for names that would lead out of a
        folder; empty where there is nothing."""
        from pyarrow.fs import FileSelector, FileType

        selector = FileSelector(self.root, recursive=True, allow_not_found=True)
        found = self.system.get_file_info(selector)
        start = len(self.root) + 1
        names = {f.path[start:]: f.size for f in found if f.type == FileType.File}
        return {name: size for name, size in names.items() if is_below(name)}

    def push(self, folder: Path, names: Iterable[str]) -> None:
        """Copies files there, in this order, each whole or not at all."""
        for name in names:
            place = f"{self.root}/{name}"
            self.system.create_dir(os.path.dirname(place), recursive=True)
            with (
                (folder / name).open("rb") as source,
                self.system.open_output_stream(place) as target,
            ):
                while chunk := source.read(1 << 23):
                    target.write(chunk)

    def pull(self, folder: Path, names: Iterable[str]) -> None:
        """Copies files from there, likewise."""
        for name in names:
            place = stay_inside(folder, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            draft = place.with_name(f".{place.name}-{os.getpid()}")
            with (
                self.system.open_input_stream(f"{self.root}/{name}") as source,
                draft.open("wb") as target,
            ):
                while chunk := source.read(1 << 23):
                    target.write(chunk)
            draft.replace(place)

    def write(self, name: str, data: bytes) -> None:
        """A file, whole or not at all."""
        self.system.create_dir(self.root, recursive=True)
        with self.system.open_output_stream(f"{self.root}/{name}") as target:
            target.write(data)

    def read(self, name: str) -> bytes | None:
        """A file's content; None: there is none."""
        from pyarrow.fs import FileType

        place = f"{self.root}/{name}"
        if self.system.get_file_info(place).type != FileType.File:
            return None
        try:
            with self.system.open_input_stream(place) as source:
                return bytes(source.read())
        except FileNotFoundError:  # gone since
            return None

    def drop(self, name: str) -> None:
        self.system.delete_file(f"{self.root}/{name}")

    def remove(self) -> None:
        """All that is below."""
        from pyarrow.fs import FileType

        if self.list_files() or self.system.get_file_info(self.root).type == FileType.Directory:
            self.system.delete_dir(self.root)

    @property
    def system(self) -> Any:
        return self._open()[0]

    @property
    def root(self) -> str:
        return self._open()[1]

    def _open(self) -> tuple[Any, str]:
        if "_opened" not in self.__dict__:
            from pyarrow.fs import FileSystem

            sign = "&" if "?" in self.uri else "?"
            limit = f"{sign}{GOOGLES_PATIENCE}" if self.uri.startswith(GOOGLES) else ""
            system, root = FileSystem.from_uri(self.uri + limit)
            self._opened = system, "/".join((root, *self.parts))
        return self._opened
