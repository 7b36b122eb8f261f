"""A small Hugging Face Hub on loopback: what a push and a download need, and faults."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from loopback import listen

TOKEN = "hf_writes0123456789"
READ_ONLY = "hf_reads0123456789"
USER = "user"
LARGE = (".safetensors", ".png", ".parquet")  # by LFS


@dataclass
class Repo:
    private: bool = False
    commits: dict[str, list[dict[str, bytes]]] = field(
        default_factory=lambda: {"main": [{".gitattributes": b""}]}
    )
    pull_requests: list[dict[str, Any]] = field(default_factory=list)

    def files(self, revision: str) -> dict[str, bytes]:
        for name, history in self.commits.items():
            for number, files in enumerate(history):
                if revision == sha(name, number):
                    return files
        return self.commits[revision][-1]

    def head(self, revision: str) -> str:
        if revision not in self.commits:
            return revision
        return sha(revision, len(self.commits[revision]) - 1)


@dataclass
class Fault:
    """What the next request whose method and path match gets in place of its answer."""

    method: str
    path: str  # a part of it
    status: int = 0  # 0: the connection is cut
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False  # carried out first: only the answer is lost


class Hub:
    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}  # LFS, by sha256
        self.faults: list[Fault] = []
        self.seen: list[str] = []  # "METHOD path" of every request
        self.url = ""

    def commits(self, repo: str, branch: str = "main") -> int:
        """Made since the repository was created."""
        return len(self.repos[repo].commits[branch]) - 1

    def put(self, repo: str, files: dict[str, bytes]) -> None:
        self.repos.setdefault(repo, Repo()).commits["main"].append(files)

    def take_fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.method == method and fault.path in path:
                self.faults.remove(fault)
                return fault
        return None


@contextmanager
def serve() -> Iterator[Hub]:
    hub = Hub()
    with listen(type("Bound", (Handler,), {"hub": hub})) as hub.url:
        yield hub


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.handle_any()

    do_HEAD = do_POST = do_PUT = do_GET

    def handle_any(self) -> None:
        split = urlsplit(self.path)
        path, self.query = unquote(split.path), parse_qs(split.query)
        self.hub.seen.append(f"{self.command} {path}")
        fault = self.hub.take_fault(self.command, path)
        if fault is not None and fault.status == 0 and not fault.after:
            self.rfile.read(min(64, int(self.headers.get("Content-Length") or 0)))
            self.cut()
            return
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length) if length else self.read_chunks()
        if fault is not None and fault.status:
            self.answer(fault.status, {"error": f"planted {fault.status}"}, fault.headers)
            return
        self.is_lost = fault is not None
        self.route(path)

    def read_chunks(self) -> bytes:
        """A body without a length, as the client streams files."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return b""
        parts = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(2)

    def answer(
        self, status: int, content: Any = None, headers: dict[str, str] | None = None
    ) -> None:
        if getattr(self, "is_lost", False):
            self.cut()
            return
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        given = headers or {}
        for name, value in {"Content-Length": str(len(body)), **given}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, message: str, code: str = "") -> None:
        self.answer(status, {"error": message}, {"X-Error-Code": code, "X-Error-Message": message})

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def route(self, path: str) -> None:
        if path.startswith("/lfs/"):
            self.take_object(path.removeprefix("/lfs/"))
        elif self.token not in ("", TOKEN, READ_ONLY):
            self.refuse(401, "Invalid credentials in Authorization header")
        elif path == "/api/whoami-v2":
            self.tell_user()
        elif path == "/api/validate-yaml":
            self.validate(json.loads(self.body)["content"])
        elif path == "/api/repos/create":
            self.create()
        elif path.endswith(".git/info/lfs/objects/batch"):
            self.answer_batch()
        else:
            self.route_repo(path)

    def route_repo(self, path: str) -> None:
        parts = path.removeprefix("/api").removeprefix("/models").strip("/").split("/")
        n = 3 if parts[0] == "datasets" else 2  # of its name
        name, verb, rest = "/".join(parts[:n]), parts[n] if len(parts) > n else "", parts[n + 1 :]
        repo = self.hub.repos.get(name)
        is_hidden = repo is not None and repo.private and self.token == ""
        if repo is None or is_hidden:
            self.refuse(404 if self.token else 401, "Repository not found", "RepoNotFound")
            return
        revision = rest[0] if rest else "main"
        if verb == "branch":
            self.branch(repo, revision)
        elif verb == "discussions":
            found = repo.pull_requests
            self.answer(200, {"discussions": found, "count": len(found), "start": 0})
        elif revision not in repo.commits and not any(
            revision == repo.head(b) for b in repo.commits
        ):
            self.refuse(404, "Invalid rev id", "RevisionNotFound")
        elif verb in ("", "revision"):
            files = [{"rfilename": f} for f in repo.files(revision)]
            self.answer(
                200, {"id": name, "sha": repo.head(revision), "siblings": files, "tags": []}
            )
        elif verb == "tree":
            self.list_tree(repo, revision, "/".join(rest[1:]))
        elif verb == "preupload":
            self.preupload(repo, revision)
        elif verb == "commit":
            self.commit(repo, name, revision)
        elif verb == "resolve":
            self.resolve(repo, revision, "/".join(rest[1:]))
        else:
            self.refuse(404, f"no endpoint {verb}")

    def tell_user(self) -> None:
        if self.token == "":
            self.refuse(401, "Invalid username or password.")
            return
        role = "read" if self.token == READ_ONLY else "write"
        access = {"accessToken": {"displayName": "t", "role": role}}
        self.answer(200, {"name": USER, "orgs": [{"name": "lab"}], "type": "user", "auth": access})

    def validate(self, content: str) -> None:
        import yaml

        _, _, rest = content.partition("---\n")
        head = yaml.safe_load(rest.partition("\n---")[0])
        errors = [] if isinstance(head, dict) else [{"message": "no metadata"}]
        self.answer(400 if errors else 200, {"errors": errors, "warnings": []})

    def create(self) -> None:
        wanted = json.loads(self.body)
        name = f"{wanted.get('organization') or USER}/{wanted['name']}"
        name = f"datasets/{name}" if wanted.get("type") == "dataset" else name
        if self.token != TOKEN or name.startswith("lab/"):
            self.refuse(403, "You don't have the rights to create a model under this namespace")
        elif name in self.hub.repos:
            self.answer(409, {"error": "exists", "url": f"{self.hub.url}/{name}"})
        else:
            self.hub.repos[name] = Repo(private=wanted.get("visibility") == "private")
            self.answer(200, {"url": f"{self.hub.url}/{name}", "name": name})

    def branch(self, repo: Repo, name: str) -> None:
        if name in repo.commits:
            self.refuse(409, "Reference already exists")
        else:
            repo.commits[name] = list(repo.commits["main"])
            self.answer(200, {})

    def preupload(self, repo: Repo, revision: str) -> None:
        there = repo.files(revision)
        self.answer(
            200,
            {
                "files": [
                    {
                        "path": f["path"],
                        "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular",
                        "shouldIgnore": False,
                        "oid": oid(f["path"], there[f["path"]]) if f["path"] in there else None,
                    }
                    for f in json.loads(self.body)["files"]
                ]
            },
        )

    def answer_batch(self) -> None:
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.objects:
                href = f"{self.hub.url}/lfs/{wanted['oid']}"
                entry["actions"] = {"upload": {"href": href}}
            objects.append(entry)
        self.answer(200, {"transfer": "basic", "objects": objects})

    def take_object(self, name: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != name:
            self.refuse(400, "checksum mismatch")
            return
        self.hub.objects[name] = self.body
        self.answer(200, {}, {"ETag": name})

    def commit(self, repo: Repo, name: str, revision: str) -> None:
        lines = [json.loads(line) for line in self.body.splitlines()]
        files = dict(repo.files(revision))
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        answer = {}
        if "create_pr" in self.query:
            number = len(repo.pull_requests) + 1
            summary = lines[0]["value"]["summary"]
            repo.pull_requests.append(self.open_pr(name, number, summary))
            revision = f"refs/pr/{number}"
            repo.commits[revision] = [dict(repo.files("main"))]
            answer["pullRequestUrl"] = f"{self.hub.url}/{name}/discussions/{number}"
        repo.commits[revision].append(files)
        oid_ = repo.head(revision)
        self.answer(
            200, {"commitUrl": f"{self.hub.url}/{name}/commit/{oid_}", "commitOid": oid_, **answer}
        )

    def open_pr(self, name: str, number: int, title: str) -> dict[str, Any]:
        return {
            **{"num": number, "title": title, "status": "open", "isPullRequest": True},
            **{"author": {"name": USER}, "createdAt": "2026-01-01T00:00:00.000Z"},
            **{"repo": {"name": name, "type": "model"}},
        }

    def list_tree(self, repo: Repo, revision: str, under: str) -> None:
        files = {n: c for n, c in repo.files(revision).items() if n.startswith(under)}
        if not files:
            self.refuse(404, "no such folder", "EntryNotFound")
            return
        self.answer(
            200,
            [
                {"type": "file", "path": n, "size": len(c), "oid": oid("", c)}
                for n, c in files.items()
            ],
        )

    def resolve(self, repo: Repo, revision: str, path: str) -> None:
        content = repo.files(revision).get(path)
        commit = {"X-Repo-Commit": repo.head(revision)}
        if content is None:
            missing = {"X-Error-Code": "EntryNotFound"}
            self.answer(404, {"error": "Entry not found"}, {**commit, **missing})
            return
        self.answer(200, content, {**commit, "ETag": f'"{oid("", content)}"'})


def sha(branch: str, number: int) -> str:
    return hashlib.sha1(f"{branch} {number}".encode()).hexdigest()


def oid(path: str, content: bytes) -> str:
    """The SHA-256 of a large file, git's SHA-1 of another."""
    if path.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
