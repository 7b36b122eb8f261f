"""Adapters of other tools: exactly what plain peft makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tune.bench.adapters import compare, refuse
from tune.bench.foreign import REFUSED, WAYS, make_adapter

# ways that one of the others runs through, too
RARE = {"all-linear", "orthogonal", "norms saved", "mica", "bias of LoRA's layers", "eva", "kasa"}
RARE |= {"layer_replication", "qalora", "tied weights"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "way", [pytest.param(w, marks=[pytest.mark.nightly] if w in RARE else []) for w in WAYS]
)
def test_it_says_what_plain_peft_says(way: str, tmp_path: Path) -> None:
    settings, why = WAYS[way]
    row = compare(make_adapter(settings, tmp_path))
    assert (why or "the engine") in (row.reason or "the engine")
    assert row.is_right, row


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("ia3", "peft_type must be LORA, and is 'IA3'"),
        ("pissa_niter", "init_lora_weights must be one that takes the same part off the base's"),
    ],
)
def test_what_is_no_lora_of_this_base_is_refused_by_its_field(
    way: str, message: str, tmp_path: Path
) -> None:
    kind, settings = REFUSED[way]
    assert refuse(make_adapter(settings, tmp_path, kind=kind)).startswith(f"refused: {message}")
