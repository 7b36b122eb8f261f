"""What engines' self-checks found, kept in the user's cache folder. Without torch: whoever plans
trials reads it before any worker starts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import trainable
from trainable.model.source import list_weight_files, locate
from trainable.system.cache import find_cache_folder, fingerprint_files
from trainable.system.json_object import read_object
from trainable.system.whole import write_whole
from trainable.trial import BASE_FIELDS

DEVICES = ("cuda", "cuda-fp16", "cpu", "cpu-fp16")  # where, and in what, a check was made
PACKAGES = ("torch", "transformers", "bitsandbytes", "triton")


@dataclass(frozen=True, kw_only=True)
class CheckVerdict:
    reason: str | None  # what the engine does not compute as transformers does; None: nothing
    tokens: int  # of the longest dialogue that was compared
    check_s: float


def key_of(base: Any) -> str:
    """16 hexadecimal digits of what a check depends on, beside the device: the base model's files,
    how it is held (a spec's or a config's fields), the versions, and the code that loads it and
    computes."""
    source = locate(base.base_model)
    folder = Path(source.name)
    files = list_weight_files(base.base_model)
    files += [folder / name for name in (source.gguf_file, "config.json") if name is not None]
    sizes = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files if p.is_file()]
    held = tuple(getattr(base, name) for name in BASE_FIELDS[1:])
    parts = (source, sizes, held, read_code("engine", "model"))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


@lru_cache(maxsize=4)
def read_code(*rooms: str) -> tuple[str, ...]:
    """Of the code in these rooms, and the versions of what it stands on."""
    folder = Path(trainable.__path__[0])
    versions = []
    for package in PACKAGES:
        try:
            versions.append(version(package))
        except PackageNotFoundError:
            versions.append("-")
    files = (path for room in rooms for path in (folder / room).rglob("*.py"))
    return (fingerprint_files(sorted(files)), *versions)


def find_place(key: str, device: str) -> Path:
    return find_cache_folder() / "checked" / f"{key}-{device}.json"


def recall_verdict(key: str, device: str) -> CheckVerdict | None:
    """`device`: one of DEVICES. None where there was no check, or no whole file of it."""
    try:
        return CheckVerdict(**read_object(find_place(key, device)))
    except (OSError, ValueError, TypeError):
        return None


def keep_verdict(key: str, device: str, verdict: CheckVerdict) -> None:
    place = find_place(key, device)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_whole(place, json.dumps(asdict(verdict)).encode())
