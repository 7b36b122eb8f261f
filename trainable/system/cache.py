"""Parsed corpora kept as one compressed JSON file each, in the user's cache folder."""

import contextlib
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainable.system.whole import write_whole
from trainable.trial import ConfigError


def find_cache_folder() -> Path:
    """$QLORA_SEARCH_CACHE, or `qlora-dialogue-search` in the user's cache folder."""
    own = os.environ.get("QLORA_SEARCH_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(base or Path.home() / ".cache") / "qlora-dialogue-search"
    except RuntimeError:
        raise ConfigError(
            "there is no home folder to keep a cache in (HOME is unset, and the user has no "
            "account): give a folder in QLORA_SEARCH_CACHE"
        ) from None


def fingerprint_files(paths: Iterable[Path], *salts: str) -> str:
    """16 hexadecimal digits of the files' names and contents, and of the salts."""
    digest = hashlib.sha256("\n".join(salts).encode())
    for path in paths:
        content = _hash(path, name_content(path))
        digest.update(f"\n{path.parent.name}/{path.name} {content}".encode())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=256)  # a plan asks for the same corpus half a dozen times
def _hash(path: Path, name: str) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def name_content(path: Path) -> str:
    """Another one wherever the file's content may be another, without reading it."""
    place, is_now = path.resolve(), path.stat()
    facts = (str(place), is_now.st_size, is_now.st_mtime_ns, is_now.st_ctime_ns, is_now.st_ino)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def recall(key: str, build: Callable[[], Any]) -> Any:
    """The JSON value kept under `key`; built and kept when there is none, by one process at a
    time, and never half. Where nothing can be kept, it is built each time."""
    path = find_cache_folder() / "parsed" / f"{key}.json.gz"
    if (kept := _read(path)) is not None:
        return kept
    from filelock import FileLock

    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError:  # a home that cannot be written
        return build()
    try:
        if (kept := _read(path)) is None:
            kept = build()
            data = gzip.compress(json.dumps(kept, ensure_ascii=False).encode(), compresslevel=4)
            with contextlib.suppress(OSError):  # a full disk
                write_whole(path, data)
    finally:
        lock.release()
    return kept


def _read(path: Path) -> Any:
    """None where there is no whole file: it is then built anew."""
    try:
        return json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError, zlib.error):
        return None
