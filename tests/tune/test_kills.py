"""A sweep under `kill -9` at random moments, of anything, ends as the undisturbed one."""

from __future__ import annotations

import json
import random
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from drivers import PATIENCE_S, Sweep
from soak import WORKERS
from test_search import summarise

from analysis.leaderboard import render
from tune.workers.watchdog import find_session

SOLO = ("--set", "base_model=toy:0.001", "--trials", "14", "--concurrent", "1")
PACKED = ("--set", "base_model=toy:0.002", "--trials", "8", "--pack", "2", "--asha", "off")
FATAL = ("driver", "raylet", "gcs_server")  # the sweep has to be resumed


def torture(sweep: Sweep, kills: list[str], seed: int) -> None:
    """Runs a sweep to its end; kills in that order, each after a little progress or none."""
    draw, left = random.Random(seed), list(kills)
    draw.shuffle(left)
    while True:
        driver, last = sweep.start(), ""
        while left and driver.poll() is None and last not in FATAL:
            sweep.await_evals(draw.choice((0, 0, 1)))
            time.sleep(draw.uniform(0, 0.7))
            if kill(driver, left[0]):
                last = left.pop(0)
        if driver.wait(timeout=5 * PATIENCE_S) == 0:
            break
        assert last in FATAL, f"the driver ended by itself: {sweep.console}"
    assert not left, "the sweep was over before all kills were done"


def kill(driver: subprocess.Popen, kind: str) -> bool:
    """Whether there was such a process, sooner or later, while the driver lived."""
    deadline_s = time.monotonic() + PATIENCE_S
    while driver.poll() is None:
        assert time.monotonic() < deadline_s, f"there is no {kind} to kill"
        if kind == "driver":
            driver.kill()
            return True
        try:
            family = psutil.Process(driver.pid).children(recursive=True)
            victims = [p for p in family if kind == WORKERS.get(p.name().partition(".")[0][:15])]
            if victims:
                random.choice(victims).kill()
                return True
        except psutil.NoSuchProcess:
            continue
        time.sleep(0.05)
    return False


def check_same(killed: Sweep, whole: Sweep, most_repeated: int) -> None:
    assert not killed.records.warnings
    assert summarise(killed.records) == summarise(whole.records)
    assert render(killed.folder) == render(whole.folder)
    events = [json.loads(line) for line in (killed.folder / "evals.jsonl").open()]
    keys = ("event", "trial", "trials", "turns", "turns_seen")
    once = [[e.get(key) for key in keys] for e in events if e["event"] != "note"]
    assert len(once) == len(set(map(str, once))), "something was recorded twice"
    assert set(killed.stretches) == set(whole.stretches)
    repeated = killed.stretches.total() - whole.stretches.total()
    print(f"{repeated} of {whole.stretches.total()} stretches were trained again")
    assert repeated <= most_repeated


def check_nothing_left(sweep: Sweep) -> None:
    """No process of any of the sweep's drivers lives on."""
    left = [p for driver in sweep.drivers for p in find_session(driver.pid)]
    _, alive = psutil.wait_procs(left, timeout=5)
    assert not alive


def check_killed(folder: Path, flags: tuple[str, ...], kills: list[str], seed: int) -> None:
    """Of two trials at a time, an engine's death costs each of them a milestone at most."""
    whole = Sweep(folder / "whole", flags).run()
    killed = Sweep(folder / "killed", flags)
    torture(killed, kills, seed)
    check_same(killed, whole, most_repeated=(1 if flags == SOLO else 2) * len(kills))
    check_nothing_left(killed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "kills"),
    [
        pytest.param(
            SOLO, ["driver", "gcs_server", "worker"], id="solo", marks=pytest.mark.nightly
        ),
        pytest.param(PACKED, ["driver", "engine", "pool"], id="packed"),
    ],
)
def test_kills_change_nothing(tmp_path: Path, flags: tuple[str, ...], kills: list[str]) -> None:
    check_killed(tmp_path, flags, kills, seed=0)


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("flags", "kills"),
    [
        (SOLO, [*["driver"] * 4, "raylet", "gcs_server", *["worker"] * 10]),
        (
            PACKED,
            [*["driver"] * 3, "raylet", "gcs_server", *["worker"] * 5, *["engine"] * 5, "pool"],
        ),
    ],
    ids=["solo", "packed"],
)
def test_dozens_of_kills_change_nothing(
    tmp_path: Path, flags: tuple[str, ...], kills: list[str], seed: int
) -> None:
    check_killed(tmp_path, flags, kills, seed)
