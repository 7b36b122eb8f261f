"""MultiWOZ and SGD from their official repositories into the cache folder.

GitHub's API names the repository's commit and, for each file in it, size and git checksum; the
files of that one commit are then fetched and checked against them. The listing is kept, so that a
later run goes on with the same commit and needs the API no more.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trainable.corpus.fetch import TIMEOUT_S, RemoteFile, fetch_file
from trainable.corpus.goals import ARCHIVE
from trainable.corpus.multiwoz import IN_CHECKOUT
from trainable.dialogue.database import DOMAINS
from trainable.system.cache import find_cache_folder
from trainable.system.whole import write_json
from trainable.trial import ConfigError, Missing, Setting

# Databases, and MultiWOZ 2.1 for the goals and bookings that 2.2 leaves out
ANNOTATIONS = (*(f"db/{domain}_db.json" for domain in DOMAINS), str(ARCHIVE))
DIALOGUES = tuple(
    str(IN_CHECKOUT / name)
    for name in (
        *("dialog_acts.json", "schema.json"),
        *(f"train/dialogues_{n:03}.json" for n in range(1, 18)),
        *(f"{split}/dialogues_{n:03}.json" for split in ("dev", "test") for n in (1, 2)),
    )
)


SGD_FILES = tuple(
    f"{split}/{name}"
    for split, n_files in (("train", 127), ("dev", 20), ("test", 34))
    for name in ("schema.json", *(f"dialogues_{n:03}.json" for n in range(1, n_files + 1)))
)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a repository is."""

    name: str = "MultiWOZ"
    api: str = "https://api.github.com/repos/budzianowski/multiwoz"
    raw: str = "https://raw.githubusercontent.com/budzianowski/multiwoz"
    branch: str = "master"
    first_pause_s: float = 1.0  # between attempts; doubles


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE (as Hugging Face's libraries read it) forbids the network."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def download_multiwoz(
    names: Sequence[str] = DIALOGUES + ANNOTATIONS, origin: Origin | None = None
) -> Path:
    """The folder with those files of the repository, all checked; downloaded where they are not
    there yet, by one process at a time. Raises ConfigError."""
    return download(find_cache_folder() / "multiwoz", names, origin or Origin())


def download_sgd(origin: Origin | None = None) -> Path:
    """Likewise, all of Schema-Guided Dialogue."""
    own = "google-research-datasets/dstc8-schema-guided-dialogue"
    known = Origin(
        name="SGD",
        api=f"https://api.github.com/repos/{own}",
        raw=f"https://raw.githubusercontent.com/{own}",
    )
    return download(find_cache_folder() / "sgd", SGD_FILES, origin or known)


def download(folder: Path, names: Sequence[str], origin: Origin) -> Path:
    """Those files of the official repository, in that folder. Raises ConfigError."""
    if all((folder / name).is_file() for name in names):  # a file appears whole and checked
        return folder
    if is_offline():
        raise Missing(
            f"{origin.name} is not in {folder} and HF_HUB_OFFLINE forbids the download: unset it, "
            "or name a local folder (",
            *(Setting("corpus", "FOLDER"), ")"),
        )
    folder.mkdir(parents=True, exist_ok=True)
    with _hold(folder / "download.lock"):
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            _download(missing, folder, origin)
    return folder


@contextmanager
def _hold(path: Path) -> Iterator[None]:
    """Holds the lock; says so where that means waiting for another process."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0.5)
    except Timeout:
        print(f"waiting for another process's download ({path})", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _download(names: Sequence[str], folder: Path, origin: Origin) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    remotes = dict(_find_remotes(names, _list_repository(folder, origin), origin))
    console = Console(stderr=True)
    columns = [TextColumn(origin.name), BarColumn(), DownloadColumn(), TransferSpeedColumn()]
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=sum(r.size_bytes for r in remotes.values()))
        for name, remote in remotes.items():
            fetch_file(
                remote,
                folder / name,
                advance=lambda n_bytes: progress.advance(task, n_bytes),
                first_pause_s=origin.first_pause_s,
            )


def _list_repository(folder: Path, origin: Origin) -> dict[str, Any]:
    """{"commit": sha, "files": {path: [bytes, git's checksum]}}; kept from the first download."""
    path = folder / "listing.json"
    if path.is_file():
        return json.loads(path.read_bytes())
    commit = _ask(f"{origin.api}/commits/{origin.branch}")["sha"]
    tree = _ask(f"{origin.api}/git/trees/{commit}?recursive=1")["tree"]
    files = {e["path"]: [e["size"], e["sha"]] for e in tree if e["type"] == "blob"}
    listing = {"commit": commit, "files": files}
    write_json(path, listing)
    return listing


def _ask(url: str) -> Any:
    request = urllib.request.Request(url, headers={"Accept": "application/vnd.github+json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return json.load(response)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise Missing(
            f"the official repository does not answer at {url} ({error}): try again later, or "
            "name a local folder (",
            *(Setting("corpus", "FOLDER"), ")"),
        ) from error


def _find_remotes(
    names: Sequence[str], listing: dict[str, Any], origin: Origin
) -> Iterator[tuple[str, RemoteFile]]:
    for name in names:
        if name not in listing["files"]:
            raise ConfigError(
                f"commit {listing['commit']} of the official repository has no {name}: "
                "name a local folder (",
                *(Setting("corpus", "FOLDER"), ")"),
            )
        size, sha1 = listing["files"][name]
        yield (
            name,
            RemoteFile(
                url=f"{origin.raw}/{listing['commit']}/{name}", size_bytes=size, git_sha1=sha1
            ),
        )
