"""The mean of several adapters of one base model, as one adapter in peft's format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainable.model.adapter_fields import PLAIN_TENSOR, check_kind_of, why_peft
from trainable.model.fingerprint import hash_file
from trainable.model.identity import KEY, check_identity
from trainable.rank_pattern import parse_rank_pattern
from trainable.storage.adapter import WEIGHTS, read_adapter_config, read_origin
from trainable.storage.adapter_ranks import as_plain, read_scale, spell_ranks
from trainable.storage.resize import shrink
from trainable.system.whole import write_json
from trainable.trial import RANGES, ConfigError, TrialConfig
from tune.export.origin import ADAPTER_CONFIG, FORMAT, RECORD

# what must be one and the same, for the mean to be asked as they are
TEXT = ("corpus", "layout", "context", "requests", "response", "target", "instruction")
PATTERNS = ("rank_pattern", "alpha_pattern")  # of adapter_config.json


class Common(NamedTuple):
    """What most layers of the mean have."""

    lora_rank: int
    rslora: bool = False


@dataclass(frozen=True)
class Part:
    """One of the adapters."""

    folder: Path
    fields: Mapping[str, Any]  # adapter_config.json
    tensors: Mapping[str, Tensor]
    origin: Mapping[str, Any]  # what its trial told; empty where it was none

    @classmethod
    def read(cls, folder: Path) -> Part:
        """Raises ConfigError where it is no plain LoRA."""
        fields = read_adapter_config(folder)
        check_kind_of(fields, folder)
        if fields.get("use_dora"):
            raise ConfigError(
                f"{folder} is a DoRA, whose change of a weight is no product of two matrices: "
                "average adapters without dora=true"
            )
        if why := why_peft(folder):
            raise ConfigError(
                f"only plain LoRA adapters can be averaged, and {folder} is none: {why}"
            )
        return cls(folder, fields, load_file(folder / WEIGHTS), read_origin(folder))

    @property
    def modules(self) -> list[str]:
        found = (PLAIN_TENSOR.fullmatch(name) for name in self.tensors)
        return sorted({match[1] for match in found if match})

    def pair(self, module: str) -> tuple[Tensor, Tensor, float]:
        """A [rank, in] and B [out, rank] in 32 bits, and what their product is multiplied by."""
        a, b = (self.tensors[f"base_model.model.{module}.lora_{x}.weight"].float() for x in "AB")
        return a, b, read_scale(self.fields, module)


def write_mean(folders: Sequence[Path], rank: int | None, out: Path) -> float:
    """Writes it into the folder; returns the share of the changes' norm that a rank leaves out (0
    without one). Raises ConfigError where they do not belong together."""
    parts = [Part.read(folder) for folder in folders]
    check_alike(parts)
    first = parts[0]
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    scales: dict[str, float] = {}
    lost = whole = 0.0
    for module in first.modules:
        a, b, scale = join(parts, module)
        if rank is not None:
            a, b, squares = shorten(a, b, rank)
            whole += scale**2 * float(squares.sum())
            lost += scale**2 * float(squares[rank:].sum())
        ranks[module], scales[module] = a.shape[0], scale
        tensors[f"base_model.model.{module}.lora_A.weight"] = a.contiguous()
        tensors[f"base_model.model.{module}.lora_B.weight"] = b.contiguous()
    check_rank(max(ranks.values()), len(parts))
    save_file(tensors, out / WEIGHTS, metadata={"format": "pt"})
    fields = spell_fields(first.fields, ranks, scales)
    record = spell_record(parts, fields, rank, hash_file(out / WEIGHTS))
    for name, content in ((ADAPTER_CONFIG, fields), (RECORD, record)):
        write_json(out / name, content)
    return (lost / whole) ** 0.5 if whole else 0.0


def join(parts: Sequence[Part], module: str) -> tuple[Tensor, Tensor, float]:
    """A and B whose product, times the scale, is the mean of all s B A: the ranks side by side."""
    pairs = [part.pair(module) for part in parts]
    scale = pairs[0][2]
    a = torch.cat([a for a, _, _ in pairs])
    b = torch.cat([b * (own / scale) for _, b, own in pairs], dim=1)
    return a, b, scale / len(pairs)


def shorten(a: Tensor, b: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The A and B of that rank whose product is nearest to B A, and the squares of all singular
    values."""
    a_new, b_new, values = map(torch.from_numpy, shrink(a.numpy(), b.numpy(), rank))
    return a_new.float(), b_new.float(), values.square()


def check_alike(parts: Sequence[Part]) -> None:
    """Raises ConfigError where they are not of one base model, one task and the same layers."""
    first = parts[0]
    if len(parts) < 2:
        raise ConfigError("a mean needs two adapters at least: name more seeds, or train them")
    for part in parts[1:]:
        check_identity(part.origin.get(KEY, {}), first.origin.get(KEY, {}), f"{part.folder}")
        for name in TEXT:
            one, other = (p.origin.get("config", {}).get(name) for p in (first, part))
            if one != other:
                raise ConfigError(
                    f"adapters to be averaged must read and write the same text, and {name} is "
                    f"{one!r} in {first.folder} and {other!r} in {part.folder}"
                )
        if part.modules != first.modules:
            odd = sorted({*part.modules} ^ {*first.modules})[0]
            raise ConfigError(
                f"adapters to be averaged must change the same layers, and {odd} is changed by one "
                f"of {first.folder} and {part.folder} alone"
            )


def check_rank(rank: int, n: int) -> None:
    assert RANGES["lora_rank"]
    highest = int(RANGES["lora_rank"][1])
    if rank > highest:
        raise ConfigError(
            f"the exact mean of {n} adapters has rank {rank}, above {highest}: give a lower one "
            "with --rank"
        )


def spell_fields(
    fields: Mapping[str, Any], ranks: Mapping[str, int], scales: Mapping[str, float]
) -> dict[str, Any]:
    """adapter_config.json: the layers as in the first adapter, ranks and scales of the mean."""
    common = Counter(ranks.values()).most_common(1)[0][0]
    kept = {name: value for name, value in fields.items() if name not in PATTERNS}
    return {**kept, **spell_ranks(ranks, scales, Common(common))}


def spell_record(
    parts: Sequence[Part], fields: Mapping[str, Any], rank: int | None, digest: str
) -> dict[str, Any]:
    """trial.json: the first adapter's task, and the mean's own shape."""
    origin = parts[0].origin
    record = {"format": FORMAT, KEY: origin.get(KEY, {}), "adapter_sha256": digest}
    record["mean_of"] = [hash_file(part.folder / WEIGHTS) for part in parts]
    if not origin.get("config"):
        return record
    plain = as_plain(TrialConfig.from_dict(origin["config"]))
    pattern = parse_rank_pattern(plain.rank_pattern)
    whole = {name: len(parts) * own for name, own in pattern.items()}
    shorter = {name: min(own, rank or own) for name, own in whole.items()}
    shape = {
        "lora_rank": fields["r"],
        "alpha_over_rank": fields["lora_alpha"] / fields["r"],
        "rslora": False,
        "rank_pattern": ",".join(f"{name}={own}" for name, own in shorter.items()) or None,
    }
    return {**record, "config": replace(plain, **shape).to_dict()}
