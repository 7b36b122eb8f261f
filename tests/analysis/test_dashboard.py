"""The sweep's optuna.journal opens in optuna-dashboard: a real server, a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution
from synthetic import write_sweep

from analysis.records import read_sweep

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("optuna_dashboard", reason="needs optuna-dashboard (extra: analysis)")
    mirror = pytest.importorskip("tune.folder.mirror")
    space = pytest.importorskip("search_spaces.space")
    folder = write_sweep(tmp_path / "my-sweep", trials=3)
    searched = {"learning_rate": FloatDistribution(1e-5, 1e-1, log=True)}
    written = mirror.Mirror(
        folder, "my-sweep", space.Space(name="s", question="?", searched=searched)
    )
    for trial in read_sweep(folder).searched:
        params = {"learning_rate": trial.params["learning_rate"]}
        name = {"trial": trial.id, "number": trial.number}
        written.on_event({"event": "trial", **name, "params": params, "config": {}, "time_s": 1.0})
        for e in trial.evals:
            score = {"combined": e.combined, "turns_seen": e.turns_seen}
            written.on_event({"event": "eval", **name, **score, "time_s": e.time_s})
        end = {"state": trial.state, "reason": None, "time_s": 2.0}
        written.on_event({"event": "end", **name, **end})
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [
            *(sys.executable, "-c", "from optuna_dashboard._cli import main; main()"),
            *(str(folder / "optuna.journal"), "--host", "127.0.0.1", "--port", str(port)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(timeout=20)


def wait_for(address: str) -> None:
    for _ in range(120):
        try:
            urllib.request.urlopen(address, timeout=5)
        except OSError:
            time.sleep(0.5)
        else:
            return
    pytest.fail("optuna-dashboard does not answer")


def test_the_study_is_found_in_the_browser(address: str) -> None:
    if CHROMIUM is None and not os.environ.get("CI"):
        pytest.skip("needs Debian's chromium: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra: test)")
    wait_for(address)
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--headless", "--disable-gpu", "--no-first-run"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page()
        page.goto(f"{address}/dashboard")
        page.get_by_text("my-sweep").first.wait_for(timeout=60_000)
        page.goto(f"{address}/dashboard/studies/0")
        page.get_by_text("Combined", exact=False).first.wait_for(timeout=60_000)
        browser.close()
