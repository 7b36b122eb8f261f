"""The reports of sweeps, kept current, to a browser on this machine: read-only, over HTTP."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from analysis.compose import EXAMPLE_DIALOGUES, Served, compose_page
from analysis.records import read_sweep
from analysis.training import TRAINING
from trainable.trial import ConfigError

HOST = "127.0.0.1"
TRAINING_S = 30.0  # between pages that differ in how training goes alone
OWN_HOSTS = ("127.0.0.1", "localhost")  # a page elsewhere that points its own name here gets none


@dataclass
class Sweep:
    """A folder's page as it was composed last."""

    folder: Path
    name: str
    pages: dict[bool, tuple[str, str]] = field(default_factory=dict)  # is_part -> version, page
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def version(self) -> str:
        """Another whenever something was recorded, and every half a minute while trials train."""
        stats = [(self.folder / n) for n in ("sweep.json", "evals.jsonl")]
        known = [s.stat() for s in stats if s.is_file()]
        trained_s = [p.stat().st_mtime for p in self.folder.glob(f"trials/*/{TRAINING}")]
        parts = [f"{s.st_size}.{s.st_mtime_ns}" for s in known]
        return "-".join([*parts, f"{max(trained_s, default=0.0) // TRAINING_S:.0f}"])

    def compose(self, others: Sequence[str], *, is_part: bool) -> str:
        with self.lock:
            version = self.version
            before, page = self.pages.get(is_part, ("", ""))
            if before != version:
                served = Served(version=version, links=others)
                page = compose_page(read_sweep(self.folder), served=served, is_part=is_part)
                self.pages[is_part] = version, page
            return page


def open_server(folders: Sequence[Path], port: int = 0) -> ThreadingHTTPServer:
    """A server on 127.0.0.1 for those sweeps, each under its folder's name; a sweep alone is at `/`
    too. Port 0: a free one. Raises ConfigError where the port is taken, or two have one name."""
    sweeps = {folder.resolve().name: Sweep(folder, folder.resolve().name) for folder in folders}
    if len(sweeps) < len(folders):
        raise ConfigError("sweeps that are served together need folders of different names")

    class Bound(Handler):
        known = sweeps

    try:
        return ThreadingHTTPServer((HOST, port), Bound)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--port {port} cannot be used ({error}): give another") from error


class Handler(BaseHTTPRequestHandler):
    known: dict[str, Sweep]

    def do_GET(self) -> None:
        if self.headers.get("Host", "").rpartition(":")[0] not in OWN_HOSTS:
            self.send_error(HTTPStatus.FORBIDDEN, "this server is for this machine's browser")
            return
        name, _, what = unquote(urlsplit(self.path).path).strip("/").partition("/")
        try:
            self._answer(name, what)
        except ConfigError as error:  # the folder is gone, or its header torn
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, str(error)[:200])

    def _answer(self, name: str, what: str) -> None:
        if not name:
            self._show_all()
        elif name in self.known and what.startswith("trials/"):
            self._show_dialogues(self.known[name].folder, what.removeprefix("trials/"))
        elif name not in self.known or what not in ("", "part", "version"):
            self.send_error(HTTPStatus.NOT_FOUND)
        elif not what and not urlsplit(self.path).path.endswith("/"):
            self._send("", HTTPStatus.MOVED_PERMANENTLY, Location=f"/{name}/")
        elif what == "version":
            self._send(self.known[name].version)
        else:
            others = [n for n in self.known if n != name]
            self._send(self.known[name].compose(others, is_part=what == "part"))

    def _show_dialogues(self, folder: Path, trial: str) -> None:
        from analysis.examples import choose_examples
        from analysis.templates import render

        records = read_sweep(folder)
        found = {t.id: (records, t) for t in records.trials if t.id == trial}
        if not found:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self._send(render("dialogues", examples=choose_examples(found, count=EXAMPLE_DIALOGUES)))

    def _show_all(self) -> None:
        """The only sweep, or all side by side."""
        from analysis.overview import compose_overview

        if len(self.known) == 1:
            self._send("", HTTPStatus.FOUND, Location=f"/{next(iter(self.known))}/")
        else:
            self._send(compose_overview([read_sweep(s.folder) for s in self.known.values()]))

    def _send(self, text: str, status: HTTPStatus = HTTPStatus.OK, **headers: str) -> None:
        content = text.encode()
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *values: Any) -> None:
        """Nothing: the terminal shows the address."""
