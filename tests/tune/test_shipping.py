"""The code that a sweep runs on: a checkout's to the nodes of a cluster, or an installed wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from nodes import open_nodes

ROOT = Path(__file__).parents[2]
TOY = ("--space", "lora_modules", "--profile", "tiny", "--set", "base_model=toy", "--name", "s")


def run_sweep(storage: Path, environment: dict[str, str], *flags: str) -> str:
    """What it printed. As the console script: without the working folder on the path."""
    command = [sys.executable, "-P", "-m", "tune.run", *TOY, "--storage", str(storage), *flags]
    done = subprocess.run(
        command,
        cwd=storage,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
def test_nodes_run_the_driver_s_code_whatever_they_have(tmp_path: Path) -> None:
    stale = tmp_path / "stale" / "trainable"
    stale.mkdir(parents=True)
    (stale / "__init__.py").write_text("raise ImportError('the code of another version')")
    with open_nodes({"PYTHONPATH": str(stale.parent)}, head_cpus=2) as nodes:
        environment = {"RAY_ADDRESS": nodes.address, "PYTHONPATH": str(ROOT)}
        for name in ("analysis", "tune", "trainable", "datasets"):  # the user's own
            (tmp_path / f"{name}.py").write_text("raise ImportError('hides a package')")
        printed = run_sweep(tmp_path, environment, "--trials", "2", "--pack", "2")
    assert "the leaderboard" in printed and "starts again" not in printed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git knows: a build leaves folders behind."""
    folder: Any = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    done = subprocess.run(
        [*command, str(folder), str(folder / "source")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_an_installed_wheel_runs_a_sweep(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*install, str(installed), str(wheel)], check=True)
    environment = {"PYTHONPATH": str(installed)}
    code = "import tune.run, trainable.worker.entry as e; print(tune.run.__file__, e.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.count(str(installed)) == 2
    assert "the leaderboard" in run_sweep(tmp_path, environment, "--trials", "2")


@pytest.mark.slow
def test_the_wheel_carries_every_file_that_the_code_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    packages = ("tune", "search_spaces", "trainable", "analysis")
    kept = subprocess.run(
        ["git", "ls-files", *packages], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tracked = {n for n in kept.stdout.splitlines() if not n.endswith(".md")}
    tracked = {n for n in tracked if not n.startswith("analysis/results/")}  # read by people
    assert tracked <= packed
