"""Sweeps in processes of their own, as from a terminal, with the toy's work written down."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import unittest.mock
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inline import make_config, open_search, run_inline

from analysis.records import SweepRecords, read_sweep
from trainable.storage.remote import locate
from tune.plan.recommendation import start_well

TRACED = Path(__file__).parent / "traced"
SWEEP = ("--space", "lora_modules", "--profile", "tiny", "--name", "s", "--max-failures", "99")
AS_INLINE = ("--rung-metric", "combined", "--confirm", "0")  # as `compute_undisturbed`
PATIENCE_S = float(os.environ.get("DRIVERS_PATIENCE_S", "150"))


def trace(storage: Path) -> dict[str, str]:
    """The environment in which the toy writes down what it trains."""
    paths = os.pathsep.join((str(TRACED), os.environ.get("PYTHONPATH", "")))
    return {"PYTHONPATH": paths, "TOY_TRACE": str(storage / "trace")}


def compute_undisturbed(storage: Path, base_model: str, **settings: Any) -> SweepRecords:
    """What the sweep comes to without Ray, one trial after another and in no time."""
    settings = {"name": "undisturbed", "fixed": {"base_model": base_model}, "race": {}, **settings}
    config, space = make_config(storage, **settings)
    with unittest.mock.patch("trainable.solo.toy.time.sleep"):
        run_inline(open_search(config, start_well(space, config.base))[0])
    return read_sweep(config.folder)


@dataclass
class Sweep:
    """One sweep, and the drivers that it has."""

    storage: Path
    flags: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    address: str = ""  # of a storage that is no folder
    drivers: list[subprocess.Popen] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return Path(locate(self.address or str(self.storage))) / "s"

    @property
    def records(self) -> SweepRecords:
        return read_sweep(self.folder)

    @property
    def console(self) -> str:
        return (self.storage / "console").read_text()

    @property
    def stretches(self) -> Counter[str]:
        """The stretches that were begun to be trained."""
        return Counter((self.storage / "trace").read_text().splitlines())

    def start(self) -> subprocess.Popen:
        """A driver: the first begins the sweep, later ones go on with it."""
        is_new = not (self.drivers if self.address else (self.folder / "sweep.json").exists())
        what = (*SWEEP, *AS_INLINE, *self.flags) if is_new else ("--resume", "s")
        command = [sys.executable, "-m", "tune.run", *what]
        command += ["--storage", self.address or str(self.storage)]
        self.storage.mkdir(exist_ok=True)
        with (self.storage / "console").open("a") as console:
            driver = subprocess.Popen(
                command,
                env={**os.environ, **trace(self.storage), **self.environment},
                stdout=console,
                stderr=console,
            )
        self.drivers.append(driver)
        return driver

    def run(self) -> Sweep:
        assert self.start().wait(timeout=5 * PATIENCE_S) == 0, self.console
        return self

    def count_repeated(self) -> int:
        """Stretches begun in vain: each other one ended in an evaluation."""
        return self.stretches.total() - self.count_evals()

    def count_evals(self) -> int:
        path = self.folder / "evals.jsonl"
        return path.read_bytes().count(b'"event": "eval"') if path.exists() else 0

    def await_evals(self, n_more: int) -> None:
        """Until there are so many more, or the driver has ended."""
        enough, deadline_s = self.count_evals() + n_more, time.monotonic() + PATIENCE_S
        while self.count_evals() < enough and self.drivers[-1].poll() is None:
            assert time.monotonic() < deadline_s, f"the sweep stands still: {self.console}"
            time.sleep(0.02)
