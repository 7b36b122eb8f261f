"""Storages' spellings, terminals that are none, somebody else's loggers, a user without a home."""

import _thread
import contextlib
import io
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from trainable.storage import contact
from trainable.storage.remote import check_uri
from trainable.system.cache import find_cache_folder
from trainable.trial import ConfigError
from tune import run
from tune.terminal.redraw import can_redraw
from tune.workers import cluster
from tune.workers.cluster import LOGGERS, _lend_loggers, _send_logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s4://bucket/x", "begin with s3://"),
        ("http://bucket/x", "begin with s3://"),
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3://bucket/a prefix", "a space"),
        ("s3://bucket/a\x1b[2J", "odd character"),
        ("s3://bucket/../k", "has a part"),
        ("s3://AKIA:secret@bucket/k", "must hold no key"),
        ("abfs://box@account/k?client_secret=secret", "must hold no key"),
    ],
)
def test_a_storage_that_cannot_be_is_one_line(
    uri: str, words: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(ConfigError, match=words):
        check_uri(uri)
    with pytest.raises(SystemExit) as ended:
        run.main(["--space", "lora_modules", "--storage", uri, "--dry-run"])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and words in error and "secret" not in error


def test_a_storage_that_does_not_answer_is_given_up_and_hears_a_signal(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact, "SAID_AFTER_S", 0.02)
    over = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer after 0.3 s"):
        contact.ask("gs://bucket", over.wait, 0.3)
    assert "waiting for gs://bucket, for 0.3 s at most" in capsys.readouterr().err
    threading.Timer(0.1, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        contact.ask("gs://bucket", over.wait)
    over.set()
    assert contact.ask("gs://bucket", lambda: 7, 60) == 7
    with pytest.raises(ZeroDivisionError):
        contact.ask("gs://bucket", lambda: 1 // 0)


@pytest.mark.slow
def test_google_s_storage_without_credentials_is_one_line_in_time(tmp_path: Path) -> None:
    """Whoever gives the credentials, on Google's machines, is a server here that never answers."""
    text = "import sys; from trainable.storage import contact; from tune.run import main\n"
    text += "contact.FIRST_S = 1.0; sys.exit(main(sys.argv[1:]))"
    command = ["--space", "lora_modules", "--storage", "gs://bucket/x", "--dry-run"]
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        environment = {**os.environ, "GCE_METADATA_ROOT": address, "HOME": str(tmp_path)}
        environment |= {"QLORA_SEARCH_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(
            [sys.executable, "-c", text, *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "(no answer after 1 s)" in done.stderr and "gcloud auth" in done.stderr


def test_a_scheme_in_capitals_is_the_same_storage() -> None:
    assert check_uri("S3://Bucket/Prefix") == "s3://Bucket/Prefix"


def test_nothing_is_drawn_over_where_cursor_movements_mean_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    assert can_redraw(Console(file=Terminal()))
    assert not can_redraw(Console(file=io.StringIO(), force_terminal=True))  # FORCE_COLOR
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    assert not can_redraw(Console(file=Terminal()))
    monkeypatch.delenv("JPY_PARENT_PID")
    monkeypatch.setenv("TERM", "dumb")
    assert not can_redraw(Console(file=Terminal()))


def test_ray_s_loggers_are_given_back() -> None:
    logger, own = logging.getLogger("ray"), logging.NullHandler()
    before, propagates = list(logger.handlers), logger.propagate
    logger.handlers, logger.propagate = [own], True
    try:
        with _lend_loggers():
            for name in LOGGERS:
                assert logging.getLogger(name) is not None
            _send_logs(logging.StreamHandler(io.StringIO()))
            assert logger.handlers != [own] and not logger.propagate
        assert logger.handlers == [own] and logger.propagate
    finally:
        logger.handlers, logger.propagate = before, propagates


def test_a_ray_that_does_not_start_says_so_in_its_log_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    @contextlib.contextmanager
    def fail(say: object) -> Iterator[None]:
        logging.getLogger("ray").error("Failed to start the dashboard")
        raise ConfigError("Ray did not start")
        yield

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr(cluster, "connect", fail)
    log = tmp_path / "logs" / "ray.log"
    with pytest.raises(ConfigError, match="did not start"), cluster.start_ray(log, "X", print):
        pass
    assert "dashboard" in log.read_text() and capfd.readouterr().err == ""


def test_a_user_without_a_home_is_told_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("QLORA_SEARCH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", fail)
    with pytest.raises(ConfigError, match="QLORA_SEARCH_CACHE"):
        find_cache_folder()
