"""This process's own stderr, also while something else is written where it leads."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator

_own = 2


def write(text: str) -> None:
    """At once, from any thread or signal handler; nothing where nobody reads it."""
    with contextlib.suppress(OSError):
        os.write(_own, text.encode())


@contextlib.contextmanager
def capture_stderr() -> Iterator[Callable[[], str]]:
    """Inside the block what C++ writes there is not shown; the function returns it."""
    global _own
    with tempfile.TemporaryFile() as file:

        def read() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        _own = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield read
        finally:
            os.dup2(_own, 2)
            os.close(_own)
            _own = 2
