"""tune.evaluate --endpoint, against a small server on loopback that serves the embedded model."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import torch
from loopback import listen
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainable.model.source import EMBEDDED_FOLDER
from tune.endpoint import client
from tune.evaluate import main

KEY = "sk-very-secret"
CHATML = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<eos>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
FEW = ["--split", "validation", "--dialogues", "3", "--device", "cpu", "--json"]


@dataclass
class Server:
    """A model behind OpenAI's API, one request computed at a time."""

    model: Any
    tokenizer: Any
    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)  # bodies
    faults: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # to come first
    lock: threading.Lock = field(default_factory=threading.Lock)

    def complete(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            self.seen.append(body)
            is_chat = path.endswith("/chat/completions")
            text = self.write(self.read(body, is_chat), body)
            choice = {"message": {"role": "assistant", "content": text}} if is_chat else {}
            return {"choices": [choice or {"text": text}]}

    def read(self, body: dict[str, Any], is_chat: bool) -> list[int]:
        if is_chat:
            return self.tokenizer.apply_chat_template(
                body["messages"], add_generation_prompt=True, return_dict=False
            )
        prompt = body["prompt"]
        return prompt if isinstance(prompt, list) else self.tokenizer(prompt)["input_ids"]

    @torch.no_grad()
    def write(self, ids: list[int], body: dict[str, Any]) -> str:
        assert body["temperature"] == 0
        bias = [[[int(i)], float(b)] for i, b in body.get("logit_bias", {}).items()]
        made = self.model.generate(
            torch.tensor([ids]),
            do_sample=False,
            max_new_tokens=body["max_tokens"],
            eos_token_id=2,
            pad_token_id=0,
            sequence_bias=bias or None,
        )
        return self.tokenizer.decode(made[0, len(ids) :], skip_special_tokens=True)


class Handler(BaseHTTPRequestHandler):
    server_: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.answer(200, {"data": [{"id": "tuned"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self.answer(401, {"error": {"message": "no such key"}})
        elif self.server_.faults:
            status, headers = self.server_.faults.pop()
            self.answer(status, {"error": {"message": f"planted {status}"}}, headers)
        else:
            self.answer(200, self.server_.complete(self.path, body))

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        said = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(said)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(said)


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    server = Server(model, AutoTokenizer.from_pretrained(folder))
    with listen(type("Bound", (Handler,), {"server_": server})) as url:
        server.url = f"{url}/v1"
        yield server


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model with a chat template."""
    folder = tmp_path_factory.mktemp("chatty")
    AutoModelForCausalLM.from_pretrained(EMBEDDED_FOLDER).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(client.time, "sleep", slept.append)
    monkeypatch.setenv(client.KEY, KEY)
    return slept


def score(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*arguments, "--corpus", "cambridge", *FEW]) == 0
    record: dict[str, Any] = json.loads(capsys.readouterr().out)
    return record


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["layout=lines", "layout=chat", "placeholder_bias=2"])
def test_an_endpoint_scores_as_our_own_engine(
    settings: str,
    chatty: Path,
    waits: list[float],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted = ["--model", str(chatty), "--set", settings, "--set", "quantisation=fp32"]
    wanted += ["--set", "max_new_tokens=24"]
    own = score(capsys, *wanted, "--responses", str(tmp_path / "own.json"))
    with serve(chatty) as server:
        server.faults += [(503, {}), (429, {"Retry-After": "7"})]
        theirs = score(
            capsys,
            *[*wanted, "--endpoint", server.url, "--concurrency", "4"],
            *["--request", "repeat_penalty=1", "--request", "mode=exact"],
            *["--responses", str(tmp_path / "theirs.json")],
        )
    assert json.loads((tmp_path / "own.json").read_text()) == json.loads(
        (tmp_path / "theirs.json").read_text()
    )
    assert own == theirs
    assert len(waits) == 2 and 7 in waits
    asked = "messages" if settings == "layout=chat" else "prompt"
    assert all(body["model"] == "tuned" and asked in body for body in server.seen)
    assert all((body["repeat_penalty"], body["mode"]) == (1, "exact") for body in server.seen)
    assert all(isinstance(body.get("prompt", ""), str) for body in server.seen)
    assert not any(KEY in path.read_text() for path in tmp_path.iterdir())


@pytest.mark.slow
def test_a_server_alone_is_asked_in_a_chat(
    chatty: Path, waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(chatty) as server:
        few = ("--set", "max_new_tokens=2", "--set", "instruction=Be brief.")
        score(capsys, "--endpoint", server.url, *few)
    first = next(body for body in server.seen if len(body["messages"]) == 2)
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert "stop" not in first


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--endpoint", "localhost:8000"], "must be an address such as"),
        (["--endpoint", "http://127.0.0.1:9/v1"], "gives no answer"),
        (["--endpoint", "URL", "--served-model", "tune"], "did you mean tuned"),
        (["--endpoint", "URL", "--set", "layout=lines"], "how the model's texts end"),
        (["--endpoint", "URL", "--set", "decoding=beam", "--set", "num_beams=2"], "decoding=beam"),
        (["--endpoint", "URL", "--set", "no_repeat_ngram_size=3"], "no_repeat_ngram_size=3"),
        (["--endpoint", "URL", "--set", "earlier_replies=own"], "earlier_replies=corpus"),
        (["--endpoint", "URL", "--set", "max_new_tokens=2"], "set OPENAI_API_KEY"),
        (
            ["--endpoint", "URL", "--model", "tiny", "--request", "top_k"],
            "--request takes FIELD=VALUE",
        ),
        ([], "there is nothing to score"),
        (["--served-model", "x", "--model", "tiny"], "no meaning without --endpoint"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    arguments: list[str],
    told: str,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv(client.KEY)
    with serve(EMBEDDED_FOLDER) as server:
        given = [server.url if a == "URL" else a for a in arguments]
        capsys.readouterr()
        assert main([*given, "--corpus", "cambridge", *FEW]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and told in said
    assert waits == [] and server.seen == []


def test_a_key_is_not_sent_on_to_another_address(waits: list[float]) -> None:
    with serve(EMBEDDED_FOLDER) as server, serve(EMBEDDED_FOLDER) as other:
        server.faults.append((307, {"Location": f"{other.url}/completions"}))
        endpoint = client.Endpoint(url=server.url, key=KEY)
        with pytest.raises(client.ConfigError, match="answered 307"):
            endpoint.ask("/completions", {"model": "tuned"})
        assert other.seen == [] and KEY not in repr(endpoint)
