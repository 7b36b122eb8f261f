"""Downloads over real HTTP, from a server on loopback that misbehaves as told."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from trainable.corpus.download import (
    ANNOTATIONS,
    DIALOGUES,
    SGD_FILES,
    Origin,
    download_multiwoz,
    download_sgd,
)
from trainable.corpus.fetch import ATTEMPTS, RemoteFile, fetch_file
from trainable.trial import ConfigError

CONTENT = bytes(range(256)) * 4000


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Site(ThreadingHTTPServer):
    """Serves `files`; `plan` lists, per path, what to do with its next requests: a status to
    answer, or ("cut", n) to close after n bytes; after that it behaves."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/f": CONTENT}
        self.plan: dict[str, list[int | tuple[str, int]]] = {}
        self.has_ranges = True
        self.seen: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.seen.append((self.path, asked))
        plan = self.server.plan.get(self.path, [])
        step = plan.pop(0) if plan else None
        if isinstance(step, int) or self.path not in self.server.files:
            self.send_error(step if isinstance(step, int) else 404)
            return
        content = self.server.files[self.path]
        start = int(asked[6:-1]) if asked and self.server.has_ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + step[1] if isinstance(step, tuple) else None
        self.wfile.write(content[start:end])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def remote(site: Site) -> RemoteFile:
    return RemoteFile(url=f"{site.url}/f", size_bytes=len(CONTENT), git_sha1=git_sha1(CONTENT))


def fetch(remote: RemoteFile, path: Path) -> int:
    """Bytes that came."""
    came: list[int] = []
    fetch_file(remote, path, advance=came.append, first_pause_s=0.001)
    return sum(came)


def test_a_whole_file(remote: RemoteFile, tmp_path: Path) -> None:
    assert fetch(remote, tmp_path / "deep" / "f") == len(CONTENT)
    assert (tmp_path / "deep" / "f").read_bytes() == CONTENT
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["f"]


def test_a_cut_transfer_goes_on_where_it_stopped(
    site: Site, remote: RemoteFile, tmp_path: Path
) -> None:
    site.plan["/f"] = [("cut", 100_000), ("cut", 50_000)]
    assert fetch(remote, tmp_path / "f") == len(CONTENT)  # not a byte twice
    assert [asked for _, asked in site.seen] == ["bytes=0-", "bytes=100000-", "bytes=150000-"]
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_later_run_goes_on_with_what_an_earlier_left(
    site: Site, remote: RemoteFile, tmp_path: Path
) -> None:
    (tmp_path / "f.part").write_bytes(CONTENT[:300_000])
    assert fetch(remote, tmp_path / "f") == len(CONTENT) - 300_000


def test_a_server_without_ranges_starts_over(
    site: Site, remote: RemoteFile, tmp_path: Path
) -> None:
    site.has_ranges = False
    site.plan["/f"] = [("cut", 100_000)]
    fetch(remote, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_server_errors_are_tried_again(site: Site, remote: RemoteFile, tmp_path: Path) -> None:
    site.plan["/f"] = [500, 503, 429]
    fetch(remote, tmp_path / "f")
    assert len(site.seen) == 4


def test_a_wrong_left_over_is_thrown_away(site: Site, remote: RemoteFile, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(b"x" * 1000)
    fetch(remote, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"?", CONTENT + b"more"])
def test_a_wrong_checksum_never_becomes_a_file(
    site: Site, remote: RemoteFile, tmp_path: Path, content: bytes
) -> None:
    site.files["/f"] = content
    with pytest.raises(ConfigError, match="checksum is wrong") as caught:
        fetch(remote, tmp_path / "f")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    assert len(site.seen) == ATTEMPTS


def test_a_file_that_is_not_there_is_not_asked_for_again(
    site: Site, remote: RemoteFile, tmp_path: Path
) -> None:
    del site.files["/f"]
    with pytest.raises(ConfigError, match="404"):
        fetch(remote, tmp_path / "f")
    assert len(site.seen) == 1


def test_a_server_that_is_gone(remote: RemoteFile, tmp_path: Path) -> None:
    gone = RemoteFile(url="http://127.0.0.1:9/f", size_bytes=1, git_sha1="")
    with pytest.raises(ConfigError, match="could not be downloaded"):
        fetch(gone, tmp_path / "f")


@pytest.fixture
def origin(site: Site) -> Origin:
    """The repository with a small file at every path."""
    names = DIALOGUES + ANNOTATIONS
    contents = {name: f"content of {name}".encode() for name in names}
    site.files = {f"/raw/c0ffee/{name}": content for name, content in contents.items()}
    tree = [
        {"type": "blob", "path": name, "size": len(content), "sha": git_sha1(content)}
        for name, content in contents.items()
    ]
    site.files["/api/commits/master"] = json.dumps({"sha": "c0ffee"}).encode()
    site.files["/api/git/trees/c0ffee?recursive=1"] = json.dumps(
        {"tree": [{"type": "tree", "path": "data"}, *tree]}
    ).encode()
    return Origin(api=f"{site.url}/api", raw=f"{site.url}/raw", first_pause_s=0.001)


def test_the_repository_is_downloaded_once(site: Site, origin: Origin, own_cache: Path) -> None:
    folder = download_multiwoz(origin=origin)
    assert folder == own_cache / "multiwoz"
    for name in DIALOGUES + ANNOTATIONS:
        assert (folder / name).read_bytes() == f"content of {name}".encode()
    assert json.loads((folder / "listing.json").read_text())["commit"] == "c0ffee"
    n_requests = len(site.seen)
    assert n_requests == 2 + len(DIALOGUES + ANNOTATIONS)
    download_multiwoz(origin=origin)
    assert len(site.seen) == n_requests


def test_an_interrupted_download_goes_on_with_the_same_commit(
    site: Site, origin: Origin, own_cache: Path
) -> None:
    site.plan["/raw/c0ffee/db/train_db.json"] = [404]
    with pytest.raises(ConfigError, match="train_db"):
        download_multiwoz(origin=origin)
    site.files["/api/commits/master"] = json.dumps({"sha": "another"}).encode()
    site.seen.clear()
    download_multiwoz(origin=origin)
    paths = [path for path, _ in site.seen]
    assert paths[0] == "/raw/c0ffee/db/train_db.json"
    assert not any("/api/" in path for path in paths)


def test_annotations_alone_are_few_files(site: Site, origin: Origin, own_cache: Path) -> None:
    folder = download_multiwoz(ANNOTATIONS, origin)
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert found - {"download.lock", "listing.json"} == set(ANNOTATIONS)


def test_a_repository_without_a_file_is_refused(
    site: Site, origin: Origin, own_cache: Path
) -> None:
    with pytest.raises(ConfigError, match=r"has no db/moon_db\.json"):
        download_multiwoz(["db/moon_db.json"], origin)


def test_an_api_that_refuses_is_one_line(site: Site, origin: Origin, own_cache: Path) -> None:
    site.plan["/api/commits/master"] = [403]
    with pytest.raises(ConfigError, match=r"does not answer.*403") as caught:
        download_multiwoz(origin=origin)
    assert "\n" not in str(caught.value)


def test_offline_nothing_is_asked_for(
    site: Site, origin: Origin, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE"):
        download_multiwoz(origin=origin)
    assert site.seen == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    download_multiwoz(origin=origin)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    download_multiwoz(origin=origin)  # what is there is there


def test_two_processes_at_once_download_each_file_once(
    site: Site, origin: Origin, own_cache: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=download_multiwoz, kwargs={"origin": origin}) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    counts = Counter(path for path, _ in site.seen)
    assert set(counts.values()) == {1}
    assert len(counts) == 2 + len(DIALOGUES + ANNOTATIONS)


def test_sgd_comes_from_its_own_repository(site: Site, own_cache: Path) -> None:
    files = {name: f"content of {name}".encode() for name in SGD_FILES}
    tree = [
        {"type": "blob", "path": name, "size": len(content), "sha": git_sha1(content)}
        for name, content in files.items()
    ]
    site.files |= {f"/raw/abc/{name}": content for name, content in files.items()}
    site.files["/api/commits/master"] = json.dumps({"sha": "abc"}).encode()
    site.files["/api/git/trees/abc?recursive=1"] = json.dumps({"tree": tree}).encode()
    origin = Origin(name="SGD", api=f"{site.url}/api", raw=f"{site.url}/raw")
    folder = download_sgd(origin)
    assert (folder / "dev" / "dialogues_020.json").read_bytes() == files["dev/dialogues_020.json"]
    assert len(files) == 3 + 127 + 20 + 34
