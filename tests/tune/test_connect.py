"""A Ray that cannot start is one line with the remedy, or starts elsewhere; nothing is left."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from drivers import Sweep

from trainable.trial import ConfigError
from tune.run import main
from tune.workers import connect, session
from tune.workers.connect import announced, await_listener, settle_token
from tune.workers.session import LONGEST_FOLDER, RAY_FOLDER, open_session

TOY = ("--space", "lora_modules", "--profile", "tiny", "--set", "base_model=toy")
SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "WANDB_API_KEY")
SMALL = ("--trials", "1", "--concurrent", "1", "--no-baseline", "--name", "s")


@pytest.fixture
def long_folder(tmp_path: Path) -> Path:
    """As a job's on a cluster."""
    folder = tmp_path / ("x" * 60)
    folder.mkdir()
    return folder


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_sockets_get_a_short_folder_that_is_private(
    variable: str, long_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv(variable, str(long_folder))
    with open_session() as folder:
        assert (
            len(os.fsencode(folder / RAY_FOLDER)) <= LONGEST_FOLDER
            and (folder / RAY_FOLDER).is_dir()
        )
        assert folder.stat().st_mode & 0o77 == 0
    shutil.rmtree(folder)  # as the watchdog does
    assert not list(long_folder.iterdir())
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as short:
        monkeypatch.setenv("RAY_TMPDIR", short)
        with open_session() as folder:
            assert folder.parent == Path(short)


def test_what_a_dead_driver_left_is_removed_and_nobody_else_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as short:
        monkeypatch.setenv("RAY_TMPDIR", short)
        (Path(short) / "ray-of-others").mkdir()
        with open_session() as dead:
            (dead / "session").mkdir()
        with open_session() as alive, open_session() as own:
            kept = {"ray-of-others", alive.name, own.name}
            assert {path.name for path in Path(short).iterdir()} == kept


def test_no_folder_at_all_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/proc")
    monkeypatch.setattr(session, "SHORT_FOLDERS", ("/proc", "/dev/null"))
    with pytest.raises(ConfigError, match="give one in RAY_TMPDIR"), open_session():
        pass


def test_nobody_at_the_address_is_one_line_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "ADDRESS_S", 0.1)
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(ConfigError, match=r"nothing answers there after 0.1 s \(.*\): start"):
            await_listener(address, "start one", print)
    for wrong in ("head", "head:", "head:port"):
        with pytest.raises(ConfigError, match=r"must be HOST:PORT or auto"):
            await_listener(wrong, "start one", print)


def test_a_listener_that_comes_late_is_waited_for() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        await_listener(f"127.0.0.1:{listening.getsockname()[1]}", "", print)


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
    assert "RAY_ADDRESS=auto reaches no Ray" in done.stderr
    assert not (tmp_path / "auto").exists()


@pytest.mark.slow
@pytest.mark.parametrize("is_killed", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_no_key_is_in_what_ray_writes_and_nothing_of_it_stays(
    is_killed: bool, tmp_path: Path
) -> None:
    """Of a small sweep in a process of its own, ended or killed."""
    secrets = {name: f"planted-{name}" for name in SECRETS}
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as short:
        flags = ("--trials", "2", "--concurrent", "1", "--set", "base_model=toy:0.005")
        sweep = Sweep(tmp_path, flags, {**secrets, "RAY_TMPDIR": short})
        driver = sweep.start()
        sweep.await_evals(2)
        (folder,) = Path(short).glob("ray-*")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert not list(find_text(folder, "planted-"))
        assert list(find_text(folder, "DialogueTrial"))  # such would have been found
        assert not list(find_text(folder, "RAY_CHDIR_TO_TRIAL_DIR"))  # workers are handed nothing
        assert not [*folder.rglob("dashboard.log"), *folder.rglob("*monitor.log")]
        if is_killed:
            driver.kill()
        assert driver.wait(timeout=100) == (-9 if is_killed else 0), sweep.console
        deadline_s = time.monotonic() + 60
        while list(Path(short).iterdir()) and time.monotonic() < deadline_s:
            time.sleep(0.1)  # the watchdog outlives a killed driver
        assert not list(Path(short).iterdir())
    assert not list(find_text(sweep.folder, "planted-"))


def test_a_cluster_that_asks_for_a_token_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """As Ray 2.60 says it: in C++, once a second, and not in what it raises."""

    def init(*_: object, **__: object) -> None:
        os.write(2, b"[gcs_client.cc:210] Unauthenticated: RPC error: InvalidAuthToken: missing\n")
        raise ConnectionError("Failed to connect to Ray cluster at 127.0.0.1:1. Ray is lost.")

    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.setattr(connect, "await_listener", lambda *_: None)
    with pytest.raises(ConfigError, match="asks for a token: set RAY_AUTH_MODE=token, and") as told:
        connect._join(ray, "127.0.0.1:1", print)
    assert "(Failed to connect to Ray cluster at 127.0.0.1:1)" in str(told.value)
    os.write(2, b"shown again\n")
    assert capfd.readouterr().err == "shown again\n"


@pytest.mark.nightly
def test_a_head_that_asks_for_a_token(tmp_path: Path) -> None:
    head = "import sys; from ray.cluster_utils import Cluster; "
    head += "print(Cluster(initialize_head=True).address, flush=True); sys.stdin.read()"
    asking = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "t" * 64}
    kept = {name: value for name, value in os.environ.items() if name not in connect.TOKEN}
    with subprocess.Popen(
        [sys.executable, "-c", head],
        env={**kept, **asking},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        address = process.stdout.readline().strip()
        command = [sys.executable, "-m", "tune.run", *TOY, *SMALL, "--storage", str(tmp_path)]
        mine = {**kept, "RAY_ADDRESS": address, "HOME": str(tmp_path)}
        done = subprocess.run(command, env=mine, capture_output=True, text=True, timeout=200)
        process.stdin.close()
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "set RAY_AUTH_MODE=token" in done.stderr


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("WrongClusterID: Perhaps the client", "its head was started anew"),
        ("anything else", "the head at 127.0.0.1:1 does not answer"),
    ],
)
def test_what_ray_raises_when_it_is_lost_is_one_line(error: str, words: str) -> None:
    text = "from tune.workers.watchdog import RayMonitor\n"
    text += (
        "ray = RayMonitor({'the head': ('127.0.0.1', 1)}, 0.1, 'python -m tune.run --resume s')\n"
    )
    text += f"ray.explain(RuntimeError({error!r}))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert done.stderr.strip().endswith("paused; go on with python -m tune.run --resume s")


def find_text(folder: Path, text: str) -> Iterator[Path]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return (path for path in files if text.encode() in path.read_bytes())
