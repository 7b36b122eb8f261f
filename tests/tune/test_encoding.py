"""A shell without UTF-8 (LC_ALL=C) and a folder with an umlaut."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def run(module: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **PLAIN}, capture_output=True, timeout=200
    )


@pytest.mark.slow
def test_a_sweep_in_a_folder_with_an_umlaut(tmp_path: Path) -> None:
    folder = tmp_path / "Übung"
    folder.mkdir()
    flags = ["--space", "lora_modules", "--profile", "tiny", "--set", "base_model=toy"]
    flags += ["--trials", "1", "--concurrent", "1", "--no-baseline", "--name", "größe"]
    done = run("tune.run", *flags, cwd=folder)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    told = run("tune.status", "größe", "--once", cwd=folder)
    assert told.returncode == 0 and "1 complete" in told.stdout.decode(), told.stderr.decode()


def test_a_mistake_is_told_in_utf8(tmp_path: Path) -> None:
    done = run("tune.status", "größe", cwd=tmp_path)
    assert done.returncode == 2 and "'größe': there is none" in done.stderr.decode()
