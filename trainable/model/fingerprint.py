"""A base model's weights in one line of text: equal for equal bytes, however they lie in files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from trainable.model.source import (
    OUTSIDE,
    list_other_files,
    list_weight_files,
    locate,
    open_headers,
)
from trainable.system.cache import name_content, recall
from trainable.trial import ConfigError

HEAD_BYTES = 64  # of every tensor: all that a fingerprint told in former versions
CHUNK_BYTES = 1 << 24
FILES = "files"  # in the place of types, where the weights are not in safetensors
DIGITS = 32
Tensor = tuple[str, str, str, str]  # name, type, its first bytes, the digest of all its bytes


def fingerprint(base_model: str) -> str | None:
    """TYPES:HEADS:ALL, where HEADS is a digest over the beginnings of the layers' tensors and ALL
    one over all bytes of all tensors; FILES:ALL of weights in other files than safetensors; None
    where they are not here. Equal weights in another type are not told to be equal. Raises
    ConfigError where a file is broken."""
    files = [p for p in list_weight_files(base_model) if p.name.startswith("model")]
    if not files:
        others = list_other_files(base_model)
        return f"{FILES}:{_digest(_recall_file(p) for p in others)}" if others else None
    open_headers(base_model, files)  # each of them is whole
    tensors = [tuple(t) for path in files for t in _recall_tensors(path)]
    layers = sorted(t[:3] for t in tensors if not OUTSIDE.search(t[0]))
    if not layers:
        return None
    heads = [(name, kind, bytes.fromhex(head)) for name, kind, head in layers]
    # embeddings may be stored once or twice, under either name
    whole = {("" if OUTSIDE.search(name) else name, kind, full) for name, kind, _, full in tensors}
    kinds = "+".join(sorted({kind for _, kind, _ in layers}))
    return f"{kinds}:{_digest(heads)}:{_digest(sorted(whole))}"


def fingerprint_if_here(base_model: str) -> str | None:
    try:
        return fingerprint(base_model)
    except ConfigError:  # a folder of another machine
        return None


def is_same(told: str, own: str) -> bool:
    """Whether two fingerprints can be of the same weights, by as much as both of them tell."""
    (kind, *then), (own_kind, *now) = str(told).split(":"), own.split(":")
    return kind != own_kind or all(a == b for a, b in zip(then, now, strict=False))


def is_same_place(one: str, other: str) -> bool:
    """Whether two names mean the same folder or repository."""
    try:
        places = [Path(locate(name).name) for name in (one, other)]
    except ConfigError:
        return False
    return places[0] == places[1] or places[0].resolve() == places[1].resolve()


def _digest(entries: Iterable[Any]) -> str:
    return hashlib.sha256(repr(list(entries)).encode()).hexdigest()[:DIGITS]


def _recall_tensors(path: Path) -> Sequence[Sequence[str]]:
    """The file's tensors; read once, until the file changes."""
    return recall(f"weights-{name_content(path)}", lambda: list(read_tensors(path)))


def _recall_file(path: Path) -> str:
    return str(recall(f"weights-{name_content(path)}", partial(hash_file, path)))


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tensors(path: Path) -> Iterator[Tensor]:
    """All tensors of a safetensors file that is whole, hashed by several threads.
    https://github.com/huggingface/safetensors#format"""
    with path.open("rb") as file, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        spans = [[8 + size + at for at in entry["data_offsets"]] for entry in header.values()]
        hashes = threads.map(lambda span: _hash_span(file.fileno(), *span), spans)
        for (name, entry), (begin, end), full in zip(header.items(), spans, hashes, strict=True):
            head = os.pread(file.fileno(), min(HEAD_BYTES, end - begin), begin)
            yield name, entry["dtype"], head.hex(), full


def _hash_span(file: int, begin: int, end: int) -> str:
    digest = hashlib.sha256()
    for at in range(begin, end, CHUNK_BYTES):
        digest.update(os.pread(file, min(CHUNK_BYTES, end - at), at))
    return digest.hexdigest()
