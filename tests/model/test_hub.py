"""Without a network no command waits for the hub's retries."""

import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from huggingface_hub import constants

from trainable.model.source import check_base
from trainable.system.hub import settle_network
from trainable.trial import ConfigError


def test_a_hub_that_does_not_answer_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:  # bound, and listening to nobody
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        for _ in range(2):
            with pytest.raises(ConfigError, match="not in the cache"):
                check_base("nobody/no-such-model")
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "cannot be reached" in said and "Retrying" not in said


def test_any_status_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # 501 to everything
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    settle_network()
    server.shutdown()
    server.server_close()
    assert not constants.HF_HUB_OFFLINE
