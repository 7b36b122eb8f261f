"""Checkpoints in folders of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from architectures import build, build_tokenizer


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> Callable[..., str]:
    """Writes a checkpoint of that architecture and returns its folder's name."""

    def make(architecture: str, **special: str) -> str:
        folder = tmp_path / architecture
        build(architecture).save_pretrained(folder)
        build_tokenizer(**({"eos_token": "<eos>"} | special)).save_pretrained(folder)
        return str(folder)

    return make
