"""A sweep under `kill -9` at random moments, of anything, ends as the undisturbed one."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from test_search import summarise

from analysis.leaderboard import render
from analysis.records import read_sweep
from tune.fate import find_session

HERE = Path(__file__).parent
SWEEP = ("--space", "lora_modules", "--profile", "tiny", "--name", "s", "--max-failures", "99")
FATAL = ("driver", "raylet", "gcs_server")  # the sweep has to be resumed
NAMES = {  # how a process is called -> what a kill of it is
    "ray::ResourceTr": "worker",
    "ray::DialogueTr": "worker",
    "ray::EngineActo": "engine",
    "ray::Pool": "pool",
    "raylet": "raylet",
    "gcs_server": "gcs_server",
}
PATIENCE_S = 60.0


@dataclass
class Torture:
    """Runs a sweep to its end and kills its processes, each time after a little progress."""

    storage: Path
    flags: tuple[str, ...]
    kills: list[str]  # what is killed, in this order
    seed: int
    done: list[str] = field(default_factory=list)
    drivers: list[int] = field(default_factory=list)

    def run(self) -> Path:
        draw = random.Random(self.seed)
        while True:
            driver = self.start()
            self.drivers.append(driver.pid)
            while self.kills and driver.poll() is None:
                self.await_progress(driver, draw.choice((0, 0, 1)))
                time.sleep(draw.uniform(0, 0.7))
                if self.kill(driver, self.kills[0]) and self.done[-1] in FATAL:
                    break
            code = driver.wait(timeout=PATIENCE_S)
            if code == 0:
                return self.folder
            assert self.done and self.done[-1] in FATAL, f"the driver ended by itself with {code}"

    def start(self) -> subprocess.Popen:
        where = ("--storage", str(self.storage))
        is_new = not (self.folder / "sweep.json").exists()
        what = (*SWEEP, *self.flags) if is_new else ("--resume", "s")
        python = [sys.executable, "-m", "tune.run"]
        environment = {
            **os.environ,
            "PYTHONPATH": str(HERE / "traced"),
            "TOY_TRACE": str(self.storage / "trace"),
        }
        self.storage.mkdir(exist_ok=True)
        with (self.storage / "console").open("a") as console:
            return subprocess.Popen(
                [*python, *what, *where], env=environment, stdout=console, stderr=console
            )

    @property
    def folder(self) -> Path:
        return self.storage / "s"

    def count_evals(self) -> int:
        path = self.folder / "evals.jsonl"
        return path.read_bytes().count(b'"event": "eval"') if path.exists() else 0

    def await_progress(self, driver: subprocess.Popen, n_evals: int) -> None:
        enough, deadline_s = self.count_evals() + n_evals, time.monotonic() + PATIENCE_S
        while self.count_evals() < enough and driver.poll() is None:
            assert time.monotonic() < deadline_s, "the sweep stands still"
            time.sleep(0.02)

    def kill(self, driver: subprocess.Popen, kind: str) -> bool:
        deadline_s = time.monotonic() + PATIENCE_S
        while driver.poll() is None:
            if kind == "driver":
                driver.kill()
                break
            try:
                family = psutil.Process(driver.pid).children(recursive=True)
                victims = [p for p in family if kind == NAMES.get(p.name().partition(".")[0][:15])]
                if victims:
                    random.choice(victims).kill()
                    break
            except psutil.NoSuchProcess:
                continue
            assert time.monotonic() < deadline_s, f"there is no {kind} to kill"
            time.sleep(0.05)
        else:
            return False
        self.done.append(self.kills.pop(0))
        return True


def run_undisturbed(storage: Path, flags: tuple[str, ...]) -> Torture:
    whole = Torture(storage, flags, [], 0)
    whole.run()
    return whole


def read_trace(torture: Torture) -> Counter[str]:
    return Counter((torture.storage / "trace").read_text().splitlines())


def check_same(torture: Torture, whole: Torture, lost_per_kill: int) -> None:
    killed, undisturbed = read_sweep(torture.folder), read_sweep(whole.folder)
    assert not killed.warnings
    assert summarise(killed) == summarise(undisturbed)
    board, reference = render(torture.folder), render(whole.folder)
    assert board == reference
    events = [json.loads(line) for line in (torture.folder / "evals.jsonl").open()]
    once = [(e["event"], e["trial"], e.get("turns_seen")) for e in events if e["event"] != "note"]
    assert len(once) == len(set(once)), "something was recorded twice"
    trained, needed = read_trace(torture), read_trace(whole)
    assert set(trained) == set(needed)
    repeated = trained.total() - needed.total()
    print(f"{len(torture.done)} kills, {repeated} of {needed.total()} stretches trained again")
    assert repeated <= lost_per_kill * len(torture.done)


def check_nothing_left(torture: Torture) -> None:
    """No process of any of the sweep's drivers lives on."""
    left = [p for driver in torture.drivers for p in find_session(driver)]
    _, alive = psutil.wait_procs(left, timeout=5)
    assert not alive


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_solo_is_exactly_the_undisturbed_sweep(tmp_path: Path) -> None:
    flags = ("--set", "base_model=toy:0.001", "--trials", "14", "--concurrent", "1")
    whole = run_undisturbed(tmp_path / "whole", flags)
    kills = [*["driver"] * 4, "raylet", "gcs_server", *["worker"] * 10]
    random.Random(1).shuffle(kills)
    torture = Torture(tmp_path / "killed", flags, kills, seed=1)
    torture.run()
    assert not torture.kills and len(torture.done) == 16
    check_same(torture, whole, lost_per_kill=1)
    check_nothing_left(torture)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_packed_has_the_same_trials_and_states(tmp_path: Path) -> None:
    flags = ("--set", "base_model=toy:0.002", "--trials", "8", "--pack", "2", "--asha", "off")
    whole = run_undisturbed(tmp_path / "whole", flags)
    kills = [*["driver"] * 3, "raylet", "gcs_server", *["worker"] * 5, *["engine"] * 5, "pool"]
    random.Random(2).shuffle(kills)
    torture = Torture(tmp_path / "killed", flags, kills, seed=2)
    torture.run()
    assert not torture.kills and len(torture.done) == 16
    check_same(torture, whole, lost_per_kill=2)
    check_nothing_left(torture)
