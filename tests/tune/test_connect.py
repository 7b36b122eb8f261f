"""A Ray that cannot start is one line with the remedy, or starts elsewhere; nothing is left."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from trainable.trial import ConfigError
from tune.run import main
from tune.workers import connect
from tune.workers.connect import LONGEST_FOLDER, announced, await_door, find_folder, settle_token

TOY = ("--space", "lora_modules", "--profile", "tiny", "--set", "base_model=toy")
SMALL = ("--trials", "1", "--concurrent", "1", "--no-baseline", "--name", "s")


@pytest.fixture
def long_folder(tmp_path: Path) -> Path:
    """As a job's on a cluster."""
    folder = tmp_path / ("x" * 60)
    folder.mkdir()
    return folder


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_sockets_get_a_short_folder(
    variable: str, long_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv(variable, str(long_folder))
    folder = find_folder()
    assert len(os.fsencode(folder)) <= LONGEST_FOLDER and folder.name == f"ray-{os.getuid()}"
    assert not list(long_folder.iterdir())
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as short:
        monkeypatch.setenv("RAY_TMPDIR", short)
        assert find_folder() == Path(short) / "ray"


def test_another_user_s_folder_is_not_taken_and_none_at_all_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as short:
        monkeypatch.setenv("RAY_TMPDIR", short)
        others = Path(short) / "ray"
        others.mkdir()
        try:
            os.chown(others, os.getuid() + 1, -1)
        except PermissionError:
            pytest.skip("only root can give a folder away")
        assert find_folder().name == f"ray-{os.getuid()}"
        (tmp_path / "file").touch()
        monkeypatch.setattr(connect, "SHORT_FOLDERS", ("/proc", str(tmp_path / "file")))
        with pytest.raises(ConfigError, match="give one in RAY_TMPDIR"):
            find_folder()


def test_nobody_at_the_address_is_one_line_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "ADDRESS_S", 0.1)
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(ConfigError, match=r"nothing answers there after 0.1 s \(.*\): start"):
            await_door(address, "start one", print)
    for wrong in ("head", "head:", "head:port"):
        with pytest.raises(ConfigError, match=r"must be HOST:PORT or auto"):
            await_door(wrong, "start one", print)


def test_a_door_that_opens_late_is_waited_for() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        await_door(f"127.0.0.1:{listening.getsockname()[1]}", "", print)


def test_a_failed_start_leaves_nothing_so_that_the_same_command_may_be_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(connect, "ADDRESS_S", 0.0)
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # whatever other tests have started
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    for _ in range(2):
        assert main([*TOY, *SMALL, "--storage", str(tmp_path)]) == 2
        error = capfd.readouterr().err
        assert error.count("\n") == 1 and "RAY_ADDRESS=127.0.0.1:1: nothing answers" in error
        assert not list(tmp_path.iterdir())


def test_what_takes_long_is_said_and_ends_in_time() -> None:
    said: list[str] = []
    text = (
        "import time\nfrom tune.workers import connect\nconnect.SAID_AFTER_S = 0.1\n"
        "with connect.announced('Ray', 0.5, print):\n    time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-uc", text], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and done.stderr == "error: Ray has not answered for 0.5 s\n"
    assert done.stdout == "waiting for Ray, for 0.5 s at most\n"
    with announced("Ray", 60, said.append):
        time.sleep(0.01)
    assert not said


def test_a_home_that_takes_no_token_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*connect.TOKEN, "RAY_ADDRESS"):
        monkeypatch.setenv(name, "")  # so that it is as before after the test
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    settle_token()
    assert "RAY_AUTH_MODE" not in os.environ  # Ray leaves its own there
    monkeypatch.setenv("HOME", "/dev/null/nobody")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # the user's own choice
    settle_token()
    assert "RAY_AUTH_TOKEN" not in os.environ
    monkeypatch.delenv("RAY_AUTH_MODE")
    settle_token()
    token = os.environ["RAY_AUTH_TOKEN"]
    settle_token()
    assert len(token) == 64 and os.environ["RAY_AUTH_TOKEN"] == token


@pytest.mark.slow
@pytest.mark.parametrize(
    "home",
    [
        pytest.param("", id="new", marks=pytest.mark.nightly),
        pytest.param("/dev/null/nobody", id="none"),
    ],
)
def test_a_sweep_runs_whatever_the_home_is(home: str, tmp_path: Path) -> None:
    """A new user's, without a token of Ray's, and one that is not there at all."""
    line = [sys.executable, "-m", "tune.run", "--space", "lora_modules", "--set", "base_model=toy"]
    line += [
        "--trials",
        "1",
        "--no-baseline",
        "--confirm",
        "0",
        "--storage",
        str(tmp_path / "runs"),
    ]
    kept = {name: value for name, value in os.environ.items() if name not in connect.TOKEN}
    environment = {**kept, "HOME": home or str(tmp_path)}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "InvalidAuthToken" not in done.stderr


@pytest.mark.nightly  # RAY_ADDRESS=auto would find a Ray of the tests beside it
def test_a_sweep_where_home_cannot_be_written_and_the_temporary_folder_is_long(
    tmp_path: Path, long_folder: Path
) -> None:
    environment = {**os.environ, "HOME": "/proc/home", "TMPDIR": str(long_folder)}
    environment["QLORA_SEARCH_CACHE"] = str(tmp_path / "cache")
    command = [sys.executable, "-m", "tune.run", *TOY, *SMALL, "--storage", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and "1 0000" in done.stdout, done.stdout + done.stderr
    command[command.index("--name") + 1] = "auto"
    environment["RAY_ADDRESS"] = "auto"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "RAY_ADDRESS=auto leads to no Ray" in done.stderr
    assert not (tmp_path / "auto").exists()
