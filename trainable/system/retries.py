"""A storage that fails: full, or away for a while. Standard library only."""

import errno
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
PATIENCE_S = 60.0  # with a storage that does not answer
PAUSE_S = 1.0
T = TypeVar("T")


class StorageFault(OSError):
    """The storage is full, or has not answered for long: its text says which, in a few words."""


def retry_io(
    work: Callable[[], T],
    say: Callable[[str], None] = lambda text: None,
    patience_s: float | None = None,
) -> T:
    """What `work` returns; where the storage does not answer it is tried again for a while, and
    `say` is told. Raises StorageFault where the storage is full, or stays away."""
    patience_s = PATIENCE_S if patience_s is None else patience_s
    since_s, is_told = time.monotonic(), False
    while True:
        try:
            result = work()
        except Exception as error:
            number = find_errno(error)
            if number is None:
                raise
            reason = os.strerror(number)
            if number in FULL or time.monotonic() - since_s >= patience_s:
                raise StorageFault(number, reason) from error
            if not is_told:
                say(f"the storage does not answer ({reason}): trying again for {patience_s:g} s")
                is_told = True
            time.sleep(PAUSE_S)
            continue
        if is_told:
            say(f"the storage is back after {time.monotonic() - since_s:.0f} s")
        return result


def find_errno(error: BaseException) -> int | None:
    """The operating system's number behind an error of reading or writing; None: it is of another
    kind. safetensors' and torch's writers tell it in their text only.

    >>> find_errno(RuntimeError("I/O error: No space left on device (os error 28)"))
    28
    """
    if isinstance(error, OSError):
        return error.errno or errno.EIO
    found = re.search(r"os error (\d+)", str(error))
    if found:
        return int(found.group(1))
    return errno.ENOSPC if os.strerror(errno.ENOSPC) in str(error) else None


def check_there(file: Path) -> None:
    """Raises OSError where the file is gone, and its folder with it: a storage that is away must
    not be taken for an empty one, nor written beside."""
    os.stat(file)
