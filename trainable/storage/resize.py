"""A checkpoint's adapter alone, in peft's format, at another rank and scale: what a trial starts
from that is cloned warm."""

import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.storage.adapter import WEIGHTS, read_adapter_config
from trainable.storage.adapter_ranks import spell_ranks
from trainable.system.whole import write_json
from trainable.trial import TrialConfig

A, B = ".lora_A.", ".lora_B."
Floats = NDArray[np.floating[Any]]


def copy_adapter(source: Path, target: Path, old: TrialConfig, new: TrialConfig) -> None:
    """Writes the adapter of `source`, trained under `old`, whole as `target`, fit for `new`: at
    the same or a higher rank it computes the same, at a lower one as near as that rank can.
    Raises ConfigError when there is no adapter."""
    values = read_adapter_config(source)
    draft = target.with_name(f".{target.name}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    ranks: dict[str, int] = {}
    if (source / WEIGHTS).exists():
        from safetensors.numpy import load_file, save_file

        weights = resize(load_file(source / WEIGHTS), old, new)
        save_file(weights, draft / WEIGHTS, metadata={"format": "pt"})
        ranks = {name_module(name): len(a) for name, a in weights.items() if A in name}
    for name in ("rank_pattern", "alpha_pattern"):
        values.pop(name, None)
    values |= spell_ranks(ranks, {path: new.scale_at(rank) for path, rank in ranks.items()}, new)
    write_json(draft / "adapter_config.json", values)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)


def resize(weights: dict[str, Floats], old: TrialConfig, new: TrialConfig) -> dict[str, Floats]:
    """peft's pairs lora_A [rank, in] and lora_B [out, rank] at the new trial's rank; B is
    multiplied by the old scale over the new. Where ranks go by layer each keeps its own."""
    resized = {name: values for name, values in weights.items() if A not in name and B not in name}
    for name, a in weights.items():
        if A not in name:
            continue
        other, rank = name.replace(A, B), new.lora_rank or 1
        if new.rank_pattern is not None:
            rank = len(a)
        b = weights[other]
        a_new, b_new = _grow(a, b, rank, name) if rank >= len(a) else shrink(a, b, rank)[:2]
        ratio = old.scale_at(len(a)) / new.scale_at(rank)
        resized[name] = np.ascontiguousarray(a_new.astype(a.dtype))
        resized[other] = np.ascontiguousarray((b_new * ratio).astype(a.dtype))
    return resized


def name_module(tensor: str) -> str:
    """The path of the layer that a tensor of peft's belongs to."""
    return tensor.partition(A)[0].removeprefix("base_model.model.")


def _grow(a: Floats, b: Floats, rank: int, name: str) -> tuple[Floats, Floats]:
    """New rows as peft starts them: A uniform in +-1/sqrt(in), B zero."""
    more, bound = rank - len(a), a.shape[1] ** -0.5
    draw = np.random.default_rng(zlib.crc32(name.encode()))
    fresh = draw.uniform(-bound, bound, (more, a.shape[1]))
    return np.vstack([a, fresh]), np.hstack([b, np.zeros((len(b), more))])


def shrink(a: Floats, b: Floats, rank: int) -> tuple[Floats, Floats, Floats]:
    """A [rank, in] and B [out, rank] in 64 bits whose product is nearest to B A (Eckart and Young),
    the singular values divided evenly between the two; and all singular values. Of the small
    product of both triangles: B A itself is never made."""
    q_b, r_b = np.linalg.qr(b.astype(np.float64))
    q_a, r_a = np.linalg.qr(a.T.astype(np.float64))
    u, s, v = np.linalg.svd(r_b @ r_a.T)
    root = np.sqrt(s[:rank])
    return (root[:, None] * v[:rank]) @ q_a.T, (q_b @ u[:, :rank]) * root, s
