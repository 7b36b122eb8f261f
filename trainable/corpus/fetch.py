"""One file over HTTP: resumed, retried, checked against its checksum, there whole or not at all."""

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainable.trial import Missing, Setting

ATTEMPTS = 6
TIMEOUT_S = 30
LONGEST_PAUSE_S = 30.0
_CHUNK_BYTES = 1 << 18
_LASTING = frozenset({400, 401, 403, 404, 410})  # answers that asking again does not change


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    url: str
    size_bytes: int
    git_sha1: str  # git's blob id: the SHA-1 of "blob SIZE\0" and the content

    def is_content(self, path: Path) -> bool:
        """Whether the file at `path` is this one, by checksum."""
        data = path.read_bytes()
        digest = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
        digest.update(data)
        return digest.hexdigest() == self.git_sha1


def fetch_file(
    remote: RemoteFile,
    path: Path,
    *,
    advance: Callable[[int], object] = lambda n_bytes: None,
    first_pause_s: float = 1.0,
) -> None:
    """Downloads into `path`; what an earlier attempt, or an earlier run, left in `path`.part is
    gone on from. `advance` hears of the bytes as they come. Raises ConfigError after the last
    attempt."""
    part = path.with_name(path.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(ATTEMPTS):
        try:
            _append(remote, part, advance)
            _accept(remote, part, path)
            return
        except urllib.error.HTTPError as error:
            reason, is_lasting = f"{error}", error.code in _LASTING
        except (OSError, http.client.HTTPException) as error:
            reason, is_lasting = f"{type(error).__name__}: {error}", False
        if is_lasting or attempt == ATTEMPTS - 1:
            break
        time.sleep(min(LONGEST_PAUSE_S, first_pause_s * 2**attempt))
    raise Missing(
        f"{remote.url} could not be downloaded ({reason}): try again, what came so far is kept; "
        "or name a local folder (",
        *(Setting("corpus", "FOLDER"), ")"),
    )


def _append(remote: RemoteFile, part: Path, advance: Callable[[int], object]) -> None:
    """The rest of the file behind what `part` has."""
    have = part.stat().st_size if part.exists() else 0
    if have >= remote.size_bytes:
        return
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={have}-"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        is_rest = response.status == http.client.PARTIAL_CONTENT
        with part.open("ab" if is_rest else "wb") as file:
            while chunk := response.read(_CHUNK_BYTES):
                file.write(chunk)
                advance(len(chunk))


def _accept(remote: RemoteFile, part: Path, path: Path) -> None:
    """Gives the file its name if it is whole and right; a wrong one is thrown away."""
    size = part.stat().st_size
    if size < remote.size_bytes:
        raise OSError(f"{size} of {remote.size_bytes} bytes came")
    if size > remote.size_bytes or not remote.is_content(part):
        part.unlink()
        raise OSError("its checksum is wrong")
    os.replace(part, path)
