"""Specs and configs of the engine's tests."""

from pathlib import Path

from trainable.model.base import BaseSpec
from tune.bench.exactness import make_config as make_config


def make_spec(folder: Path) -> BaseSpec:
    return BaseSpec(base_model=str(folder), quantisation="fp32", device="cpu")
